"""A report's heat maps and curves as one PNG, drawn by matplotlib, which is only then imported."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tenuto.errors import ConfigError
from tenuto.evaluation.lines import boundaries, lines, marks
from tenuto.evaluation.matrix import average
from tenuto.evaluation.report import Report
from tenuto.evaluation.style import HEAT_TURN, LIGHT, LIGHT_LINES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 3
_INCH = 3.6


def save_png(report: Report, path: str | Path) -> None:
    """Write the accuracy matrices and the curves of a report as a PNG at 150 dpi.

    Args:
        report: what to draw; at least one run must have a matrix or a curve.
        path: where to write.

    Raises:
        ConfigError: matplotlib is missing (the extra `tenuto[png]`), or there is nothing to draw.
        OSError: the file cannot be written.
    """
    mapped = [method for method in report.methods if report.matrices_of(method)]
    if not mapped and not report.chart_titles:
        raise ConfigError(
            f"the report {report.title!r} has neither a matrix nor a curve: there is nothing to draw"
        )
    figure, rows = _canvas(len(mapped), len(report.chart_titles))
    grid = figure.add_gridspec(rows, _ACROSS)
    for k, method in enumerate(mapped):
        _map(figure.add_subplot(grid[k // _ACROSS, k % _ACROSS], facecolor=LIGHT["paper"]), report, method)
    below = -(-len(mapped) // _ACROSS)
    for k, title in enumerate(report.chart_titles):
        _chart(figure.add_subplot(grid[below + k, :], facecolor=LIGHT["paper"]), report, title)
    figure.suptitle(report.title, color=LIGHT["ink"], fontsize=14, parse_math=False)
    figure.savefig(path, format="png", dpi=150)


def _canvas(maps: int, charts: int) -> tuple[Figure, int]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("a PNG needs matplotlib: pip install 'tenuto[png]'") from error
    rows = -(-maps // _ACROSS) + charts
    figure = Figure(figsize=(_ACROSS * _INCH, rows * _INCH), layout="constrained", facecolor=LIGHT["paper"])
    FigureCanvasAgg(figure)
    return figure, rows


def _map(axes: Axes, report: Report, method: str) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    mean = average(report.matrices_of(method))
    names = report.context_names or tuple(str(i + 1) for i in range(mean.contexts))
    scale = LinearSegmentedColormap.from_list("heat", [LIGHT["paper"], LIGHT["heat"]])
    axes.imshow(mean.values, cmap=scale, vmin=0, vmax=1)
    axes.set_title(method, parse_math=False)
    axes.set_xticks(range(mean.contexts), names, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(mean.moments), names[: mean.moments], parse_math=False)
    axes.set_xlabel("accuracy on, %")
    axes.set_ylabel("after learning")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8)
    size = min(9.0, 90 / mean.contexts)
    for (t, i), value in np.ndenumerate(mean.values):
        ink = LIGHT["cell-high" if value >= HEAT_TURN else "cell-low"]
        axes.text(
            i, t, "" if isnan(value) else f"{100 * value:.0f}", color=ink, ha="center", va="center", size=size
        )


def _chart(axes: Axes, report: Report, title: str) -> None:
    drawn = lines(report, title)
    legend = {}
    for line in drawn:
        colour = LIGHT_LINES[line.index % len(LIGHT_LINES)]
        dash = "--" if line.index >= len(LIGHT_LINES) else "-"
        for x in () if line.method in legend else marks(report, title, line.method):
            axes.axvline(x, ymax=0.03, color=colour, alpha=0.55, linewidth=1.2)
        legend[line.method] = axes.plot(
            line.x,
            line.y,
            dash,
            color=colour,
            linewidth=1.5 + 2.5 * line.covered,
            marker="." if len(line.x) < 20 else "",
        )[0]
        if line.seeds > 1:
            axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.16, linewidth=0)
    for x in boundaries(report, title):
        axes.axvline(x, color=LIGHT["soft"], linestyle=":", linewidth=1)
    first = report.curves_of(drawn[0].method, title)[0]
    axes.set_title(title, parse_math=False)
    axes.set_xlabel(first.x_label, parse_math=False)
    axes.set_ylabel(first.y_label, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=LIGHT["rule"])
    shown = axes.legend(
        legend.values(), legend.keys(), frameon=False, loc="center left", bbox_to_anchor=(1, 0.5)
    )
    for text in shown.get_texts():
        text.set_parse_math(False)
