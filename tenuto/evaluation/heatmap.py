"""An accuracy matrix as a picture: one square per moment and context, stronger where more is known."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from tenuto.evaluation.markup import Markup
from tenuto.evaluation.matrix import AccuracyMatrix, average
from tenuto.evaluation.style import HEAT_TURN
from tenuto.evaluation.svg import LETTER, clip, group, picture, rect, text

_HEAD = 34.0
_LONGEST = 16


def heatmap(matrices: Sequence[AccuracyMatrix], *, names: Sequence[str], label: str) -> Markup:
    """An inline SVG of the mean over seeds; rows are moments, columns contexts, the scale is 0 to 100 %.

    Args:
        matrices: one per seed, all of one shape.
        names: one per context; empty for 1, 2, ...
        label: the picture's accessible title.
    """
    mean = average(matrices)
    full = tuple(names) or tuple(str(i + 1) for i in range(mean.contexts))
    short = [clip(name, _LONGEST) for name in full]
    side = 38.0 if mean.contexts <= 10 else 24.0
    longest = LETTER * max(map(len, short))
    rise = 0.71 * longest if longest > side - 4 else 0.0
    left, top = max(longest + 10, 44.0), _HEAD + rise
    parts = [text(0, 11, "after learning ↓, accuracy on →, %", "soft")]
    for i, name in enumerate(short):
        look = "" if rise else "middle"
        parts.append(text(left + (i + 0.5) * side, top - 7, name, look, tilted=rise > 0))
    for t in range(mean.moments):
        parts.append(text(left - 7, top + (t + 0.5) * side + 4, short[t], "end"))
        for i in range(mean.contexts):
            x, y, value = left + i * side, top + t * side, float(mean.values[t, i])
            cell = _cell(x, y, side, value, learned=t == i)
            parts.append(group(*cell, title=_told(matrices, full, t, i)))
    width, height = left + side * mean.contexts + rise, top + side * mean.moments + 2
    return picture(width, height, f"{label}; at the end {_final(mean, full)}", *parts, fixed=True)


def key() -> Markup:
    """The colour scale from 0 to 100 %."""
    steps = [rect(30 + 16 * k, 1, 16, 12, "cell", opacity=(k + 0.5) / 10) for k in range(10)]
    ends = text(24, 11, "0 %", "soft end"), text(196, 11, "100 %", "soft")
    return picture(240, 14, "Colour scale from 0 to 100 %", *steps, *ends, fixed=True)


def _cell(x: float, y: float, side: float, value: float, *, learned: bool) -> tuple[Markup, ...]:
    box = x + 1, y + 1, side - 2, side - 2
    if isnan(value):
        return (rect(*box, "blank"),)
    shade = round(value, 2)
    ink = "high" if shade >= HEAT_TURN else "low"
    words = f"{100 * value:.1f}" if side > 30 and value < 0.9995 else f"{100 * value:.0f}"
    look = f"{ink} middle" + (" small" if side < 30 else "")
    return (
        rect(*box, "cell learned" if learned else "cell", opacity=shade),
        text(x + side / 2, y + side / 2 + 4, words, look),
    )


def _told(matrices: Sequence[AccuracyMatrix], names: Sequence[str], t: int, i: int) -> str:
    seeds = [float(m.values[t, i]) for m in matrices]
    told = ", ".join("not measured" if isnan(a) else f"{100 * a:.2f} %" for a in seeds)
    return f"after {names[t]}, on {names[i]}: {told}"


def _final(mean: AccuracyMatrix, names: Sequence[str]) -> str:
    last = zip(names, mean.values[-1], strict=True)
    return ", ".join(f"{name} {100 * a:.1f} %" for name, a in last if not isnan(a))
