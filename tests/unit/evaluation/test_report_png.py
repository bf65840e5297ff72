import subprocess
import sys
from dataclasses import replace

import pytest

from tenuto.errors import ConfigError
from tenuto.evaluation import AccuracyMatrix, Report, Run, save_png
from tenuto.evaluation.style import LIGHT

image = pytest.importorskip("matplotlib.image", reason="drawing a PNG needs matplotlib (tenuto[png])")


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


def shades(path) -> set[tuple[int, ...]]:
    pixels = (image.imread(path)[..., :3] * 255).round().astype(int).reshape(-1, 3)
    return set(map(tuple, pixels.tolist()))


def test_a_perfect_matrix_is_drawn_in_the_full_colour_and_an_empty_one_is_not(tmp_path):
    full = tuple(int(LIGHT["heat"][i : i + 2], 16) for i in (1, 3, 5))
    for accuracy, there in ((1.0, True), (0.0, False)):
        matrix = AccuracyMatrix(values=[[accuracy]])
        save_png(Report(title="t", runs=(Run(method="er", seed=0, matrix=matrix),)), tmp_path / "r.png")
        assert (full in shades(tmp_path / "r.png")) is there


def test_matrices_and_curves_are_drawn_as_one_png(report, tmp_path):
    save_png(report, tmp_path / "r.png")
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    height, width, _ = image.imread(tmp_path / "r.png").shape
    assert width == 1620
    assert height == 1080
    save_png(
        replace(report, runs=tuple(replace(run, matrix=None) for run in report.runs)), tmp_path / "c.png"
    )
    assert image.imread(tmp_path / "c.png").shape[0] == 540


def test_names_are_drawn_as_they_are_and_not_as_mathematics(report, tmp_path):
    odd = r"$\frac{1}$ _x^{ %"
    runs = tuple(
        replace(run, method=f"{run.method}{odd}", curves={odd: run.curves["Loss"]}) for run in report.runs
    )
    save_png(replace(report, title=odd, runs=runs, context_names=(odd, "b", "c")), tmp_path / "r.png")
    assert (tmp_path / "r.png").stat().st_size > 0


def test_a_report_with_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="nothing to draw"):
        save_png(Report(title="t"), tmp_path / "r.png")
    assert not (tmp_path / "r.png").exists()


def test_without_matplotlib_the_extra_is_named(tmp_path):
    done = python(
        "import sys; sys.modules['matplotlib'] = None\n"
        "from tenuto.errors import ConfigError\n"
        "from tenuto.evaluation import AccuracyMatrix, Report, Run, save_png\n"
        "run = Run(method='er', seed=0, matrix=AccuracyMatrix(values=[[0.5]]))\n"
        "try:\n    save_png(Report(title='t', runs=(run,)), 'never.png')\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    assert "tenuto[png]" in done.stdout, done.stderr


def test_measuring_and_rendering_import_neither_matplotlib_nor_torch():
    done = python(
        "import sys\nfrom tenuto.evaluation import Report, render\nrender(Report(title='t'))\n"
        "print(sorted({'matplotlib', 'torch', 'jinja2', 'scipy'} & set(sys.modules)))"
    )
    assert done.stdout.strip() == "[]", done.stderr
