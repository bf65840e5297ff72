"""The headline picture: each method's final accuracy with its interval, against joint training."""

from __future__ import annotations

from tenuto.evaluation.intervals import Interval, interval
from tenuto.evaluation.markup import Markup
from tenuto.evaluation.report import MATRIX_MEASURES, Report
from tenuto.evaluation.scale import Axis, axis
from tenuto.evaluation.style import hue
from tenuto.evaluation.svg import LETTER, circle, clip, group, line, picture, rect, text

_WIDTH, _RIGHT, _ROW, _TOP, _FOOT = 1000.0, 24.0, 30.0, 24.0, 42.0
_LONGEST = 24


def dots(report: Report) -> Markup | None:
    """An inline SVG, one row per method: a dot per seed, the mean and its 95 % interval.

    None where no run has an average accuracy.
    """
    reached: dict[str, list[float]] = {}
    for run in report.runs:
        if (accuracy := run.figures.get(MATRIX_MEASURES[0])) is not None:
            reached.setdefault(run.method, []).append(accuracy)
    if not reached:
        return None
    found = {method: interval(values) for method, values in reached.items()}
    joint = interval(report.joint) if report.joint else None
    ends = [end for at in (*found.values(), *([joint] if joint else [])) for end in _span(at)]
    left = 20 + LETTER * max(min(len(method), _LONGEST) for method in found)
    across = axis(values=ends, start=left, end=_WIDTH - _RIGHT, count=10)
    bottom = _TOP + _ROW * len(reached)
    parts = [_grid(across, bottom), *([_bound(joint, across, bottom)] if joint else [])]
    for k, (method, at) in enumerate(found.items()):
        look = hue(report.methods.index(method))
        parts.append(_row(method, look, reached[method], at, across, _TOP + (k + 0.5) * _ROW))
    told = [f"{method} {100 * at.mean:.1f} %" for method, at in found.items()]
    told += [f"joint training {100 * joint.mean:.1f} %"] if joint else []
    return picture(_WIDTH, bottom + _FOOT, f"Average accuracy: {', '.join(told)}", *parts)


def _span(at: Interval) -> tuple[float, float]:
    half = at.half_width or 0.0
    return max(at.mean - half, 0.0), min(at.mean + half, 1.0)


def _grid(across: Axis, bottom: float) -> Markup:
    parts = []
    for tick in across.ticks:
        x = across.at(tick)
        parts.append(line(x, _TOP, x, bottom, "grid"))
        parts.append(text(x, bottom + 18, across.spell(tick, factor=100), "soft middle"))
    title = text(
        (across.start + across.end) / 2, bottom + 38, "average accuracy at the end, %", "soft middle"
    )
    return group(*parts, title)


def _bound(joint: Interval, across: Axis, bottom: float) -> Markup:
    low, high = (across.at(end) for end in _span(joint))
    x = across.at(joint.mean)
    side = "end" if x > (across.start + across.end) / 2 else ""
    return group(
        rect(low, _TOP, high - low, bottom - _TOP, "joint-band"),
        line(x, _TOP - 4, x, bottom, "joint"),
        text(x, _TOP - 9, f"joint training {100 * joint.mean:.1f}", side),
    )


def _row(method: str, look: str, seeds: list[float], at: Interval, across: Axis, y: float) -> Markup:
    low, high = (across.at(end) for end in _span(at))
    return group(
        text(across.start - 14, y + 4, clip(method, _LONGEST), "end"),
        line(low, y, high, y, "whisker"),
        *(circle(across.at(a), y, 3, "seed") for a in seeds),
        circle(across.at(at.mean), y, 5.5, "dot"),
        look=look,
        title=f"{method}: " + ", ".join(f"{100 * a:.2f} %" for a in seeds),
    )
