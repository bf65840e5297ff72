"""Every script in examples/ runs as it is and says what it promises."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tenuto import Learner
from tests.contract import checks
from tests.contract.walks import CONFIG, WALK, Walk, numbers

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


def figures(told: str) -> dict[str, list[float]]:
    """The numbers of each row of a table, by its first word."""
    rows = [line.replace("−", "-").split() for line in told.splitlines()[1:]]
    return {row[0]: [float(cell.rstrip("%")) for cell in row[1:]] for row in rows if len(row) > 1}


def stream(told: str, folder: Path) -> None:
    (naive, nothing), (er, remembered) = figures(told).values()
    assert er > 70 > 20 > naive
    assert (nothing, remembered) == (0, 200)


def crash_and_forget(told: str, folder: Path) -> None:
    assert "died by SIGKILL at step 57" in told
    assert re.findall(r"(\w+)$", told, re.MULTILINE)[1:] == ["True", "True"]


def anchor(told: str, folder: Path) -> None:
    free, *held = [moved for (moved,) in figures(told).values()]
    assert [free, *held] == sorted([free, *held], reverse=True)
    assert held[-1] < free / 2


def report(told: str, folder: Path) -> None:
    by_method = figures(told.rpartition("wrote")[0])
    assert by_method["er"][0] > 60 > 30 > by_method["naive"][0]
    assert by_method["er"][1] < by_method["naive"][1]
    assert (folder / "report.html").read_text().startswith("<!doctype html>")


PROMISES: dict[str, Callable[[str, Path], None]] = {
    "anchor": anchor,
    "crash_and_forget": crash_and_forget,
    "report": report,
    "stream": stream,
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_keeps_its_promise(script: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    PROMISES[script.stem](ran.stdout, tmp_path)


def loaded(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECKS = {name: check for name, check in checks.CHECKS.items() if name != "weights_are_honoured"}
"""A penalty is no mean over rows, so that a row of weight 2 is not the same as twice the rate."""


@pytest.mark.parametrize("walk", [WALK, numbers(WALK)], ids=["classification", "regression"])
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_the_new_method_keeps_the_contract(check: checks.Check, walk: Walk) -> None:
    module, task = loaded("anchor"), "classification" if walk is WALK else "regression"

    def make(seed: int) -> Learner:
        return Learner(config=replace(CONFIG, seed=seed, task=task), method=module.recipe())

    check(make, walk)
