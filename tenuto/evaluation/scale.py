"""Axes: round ticks, positions on the page, and numbers as short as their step allows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from tenuto.errors import ConfigError

_SLACK = 1e-9
_TINY = 1e-300


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """A stretch of numbers laid on a stretch of the page.

    Args:
        low: the number at `start`.
        high: the number at `end`; above low.
        start: page position of low, px.
        end: page position of high, px; before start for an axis that grows upwards.
        ticks: round numbers in [low, high], ascending.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """The page position of a number, px."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def spell(self, value: float, *, factor: float = 1) -> str:
        """A tick's label: as many decimals as the step between ticks needs, `factor` times the value.

        >>> axis(values=[0, 1], start=0, end=100, count=4).spell(0.5)
        '0.5'
        """
        step = factor * (self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else self.high - self.low)
        digits = max(0, -floor(log10(step) + _SLACK))
        shown = factor * value
        text = f"{shown:.2e}" if abs(shown) >= 1e7 or digits > 6 else f"{shown:z,.{digits}f}"
        return text.replace("-", "\N{MINUS SIGN}")


def axis(*, values: Iterable[float], start: float, end: float, count: int = 5, widen: bool = True) -> Axis:
    """An axis over all finite `values`, with about `count` steps of 1, 2 or 5 times a power of ten.

    Args:
        values: what it must hold, at least one finite number.
        start: page position of its low end, px.
        end: page position of its high end, px.
        count: about how many steps.
        widen: whether it reaches out to the ticks beyond its ends, and down to a zero that is near.

    >>> axis(values=[0.62, 0.97], start=0, end=100, count=4).ticks
    (0.6, 0.7, 0.8, 0.9, 1.0)
    """
    held = [v for v in values if isfinite(v)]
    if not held:
        raise ConfigError("an axis needs at least one finite number")
    low, high = min(held), max(held)
    if high - low <= max(_SLACK * max(abs(low), abs(high)), _TINY):
        room = abs(low) / 10 or 1.0
        low, high = low - room, high + room
    if widen and 0 <= low <= (high - low) / 2:
        low = 0.0
    step = _round((high - low) / count)
    first, last = floor(low / step + _SLACK), ceil(high / step - _SLACK)
    if widen:
        low, high = first * step, last * step
    kept = [
        k * step for k in range(first, last + 1) if low - _SLACK * step <= k * step <= high + _SLACK * step
    ]
    return Axis(low=low, high=high, start=start, end=end, ticks=tuple(float(f"{t:.12g}") for t in kept))


def _round(step: float) -> float:
    """The 1, 2 or 5 times a power of ten nearest above `step`."""
    power = 10.0 ** floor(log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - _SLACK))
