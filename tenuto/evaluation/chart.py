"""A line chart as inline SVG: one colour per method, seeds as a band, contexts between dotted rules."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import fsum, isnan

from tenuto.evaluation.lines import Line, boundaries, lines, marks
from tenuto.evaluation.markup import Markup, tag
from tenuto.evaluation.report import Report
from tenuto.evaluation.scale import Axis, axis
from tenuto.evaluation.style import hue
from tenuto.evaluation.svg import LETTER, group, line, picture, text

_WIDTH, _HEIGHT = 1000.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, _WIDTH - 24.0, 46.0, _HEIGHT - 46.0


def chart(report: Report, title: str) -> Markup:
    """The figure of one chart title: heading, legend with each line's last value, and the picture."""
    drawn = [one for one in lines(report, title) if one.last is not None]
    if not drawn:
        return tag("figure", {}, tag("h3", {}, title), tag("p", {"class": "note"}, "Nothing was measured."))
    first = report.curves_of(drawn[0].method, title)[0]
    rules = boundaries(report, title)
    noticed = {one.index: marks(report, title, one.method) for one in drawn}
    reach = [x for one in drawn for x in (one.x[0], one.x[-1])]
    across = axis(values=[*reach, *rules], start=_LEFT, end=_RIGHT, count=10, widen=False)
    upward = axis(values=[y for one in drawn for y in (*one.low, *one.high)], start=_BOTTOM, end=_TOP)
    ends = ", ".join(f"{one.method} {one.last:.3g}" for one in drawn)
    drawing = picture(
        _WIDTH,
        _HEIGHT,
        f"{title}, {first.y_label} over {first.x_label}; last values: {ends}",
        _frame(across, upward, first.x_label, first.y_label),
        _contexts(across, rules, report.context_names),
        *(_band(one, across, upward) for one in drawn if one.seeds > 1),
        *(_stroke(one, across, upward) for one in drawn),
        *(_ticks(across, upward, index, at) for index, at in noticed.items() if at),
    )
    return tag("figure", {}, tag("h3", {}, title), _legend(drawn), tag("div", {"class": "wide"}, drawing))


def swatch(index: int) -> Markup:
    """A short stroke in a method's colour."""
    stroke = tag("path", {"class": "line", "d": "M1 5H17"})
    return tag("svg", {"class": hue(index), "width": 18, "height": 10, "aria-hidden": "true"}, stroke)


def _legend(drawn: Sequence[Line]) -> Markup:
    ends: dict[tuple[int, str], list[float]] = {}
    for one in drawn:
        ends.setdefault((one.index, one.method), []).append(one.last or 0.0)
    items = []
    for (index, method), last in ends.items():
        value = tag("b", {}, f"{fsum(last) / len(last):.3g}")
        items.append(tag("li", {}, swatch(index), method, " ", value))
    return tag("ul", {"class": "legend"}, *items)


def _frame(across: Axis, upward: Axis, x_label: str, y_label: str) -> Markup:
    parts = [text(0, 12, y_label, "soft")]
    for tick in upward.ticks:
        y = upward.at(tick)
        parts.append(line(_LEFT, y, _RIGHT, y, "base" if tick == upward.low else "grid"))
        parts.append(text(_LEFT - 8, y + 4, upward.spell(tick), "soft end"))
    for tick in across.ticks:
        x = across.at(tick)
        parts.append(line(x, _BOTTOM, x, _BOTTOM + 4, "base"))
        parts.append(text(x, _BOTTOM + 18, across.spell(tick), "soft middle"))
    return group(*parts, text((_LEFT + _RIGHT) / 2, _HEIGHT - 6, x_label, "soft middle"))


def _contexts(across: Axis, rules: Sequence[float], names: Sequence[str]) -> Markup:
    at = [across.at(x) for x in rules]
    parts = [line(x, _TOP - 18, x, _BOTTOM, "boundary") for x in at]
    if len(names) == len(rules) + 1:
        for left, right, name in zip([_LEFT, *at], [*at, _RIGHT], names, strict=True):
            if len(name) * LETTER <= right - left - 6:
                parts.append(text((left + right) / 2, _TOP - 12, name, "soft middle"))
    return group(*parts)


def _ticks(across: Axis, upward: Axis, index: int, noticed: Sequence[float]) -> Markup:
    """Short ticks at the foot, in the method's colour; what lies beyond the chart is left out."""
    at = [across.at(x) for x in noticed if across.low <= x <= across.high]
    strokes = "".join(f"M{x:.1f} {upward.start:.1f}v-9" for x in at)
    return tag("path", {"class": f"mark {hue(index)}", "d": strokes})


def _stroke(one: Line, across: Axis, upward: Axis) -> Markup:
    pieces = ["M" + "L".join(_points(one.x, one.y, run, across, upward)) for run in _runs(one.y)]
    dots = [piece if "L" in piece else f"{piece}h0" for piece in pieces]
    look = f"line {hue(one.index)}" + (f" under-{one.covered}" if one.covered else "")
    return tag("path", {"class": look, "d": "".join(dots)})


def _band(one: Line, across: Axis, upward: Axis) -> Markup:
    pieces = []
    for run in _runs(one.y):
        there = _points(one.x, one.high, run, across, upward)
        back = _points(one.x, one.low, run, across, upward)[::-1]
        pieces.append("M" + "L".join(there + back) + "Z")
    return tag("path", {"class": f"band {hue(one.index)}", "d": "".join(pieces)})


def _points(
    x: Sequence[float], y: Sequence[float], run: Sequence[int], across: Axis, upward: Axis
) -> list[str]:
    return [f"{across.at(x[k]):.1f} {upward.at(y[k]):.1f}" for k in run]


def _runs(y: Sequence[float]) -> list[list[int]]:
    """The stretches of rows that were measured, gaps left out."""
    stretches = groupby(range(len(y)), key=lambda k: isnan(y[k]))
    return [[*rows] for gap, rows in stretches if not gap]
