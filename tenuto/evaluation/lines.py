"""The lines of a chart: one per method, the mean of its seeds and the range they span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum, isnan, nan

from tenuto.evaluation.report import Curve, Report

WIDEST = 3
"""Steps by which a line may be wider than others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a chart.

    Args:
        method: whose line it is.
        index: the method's place in the report, which gives its colour.
        x: (n,) positions.
        y: (n,) the mean over seeds; NaN where any of them was not measured.
        low: (n,) the lowest seed.
        high: (n,) the highest seed.
        seeds: how many seeds it averages.
        covered: how many of the lines drawn after it hide most of it, `WIDEST` at most: it is to be that much
            wider.
    """

    method: str
    index: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int
    covered: int = 0

    @property
    def last(self) -> float | None:
        """The last value that was measured."""
        return next((y for y in reversed(self.y) if not isnan(y)), None)


def lines(report: Report, title: str, *, points: int = 600) -> list[Line]:
    """Every method's line of the chart `title`; seeds measured at other positions keep a line each.

    Args:
        report: where the curves are.
        title: which of them.
        points: draw at most about so many, keeping every peak and trough.

    >>> from tenuto.evaluation.report import Run
    >>> seeds = [Curve(x=(1, 2), y=y, x_label="rows", y_label="a") for y in [(0.0, 1.0), (1.0, 1.0)]]
    >>> runs = [Run(method="er", seed=s, curves={"a": curve}) for s, curve in enumerate(seeds)]
    >>> lines(Report(title="t", runs=runs), "a")[0].y
    (0.5, 1.0)
    """
    found = []
    for index, method in enumerate(report.methods):
        curves = report.curves_of(method, title)
        together = len({curve.x for curve in curves}) == 1
        for group in [curves] if together else [(curve,) for curve in curves]:
            found.append(_line(method, index, group, points))
    return [
        replace(line, covered=min(WIDEST, sum(_hides(other, line) for other in found[place:])))
        for place, line in enumerate(found, start=1)
    ]


def _hides(other: Line, line: Line) -> bool:
    there = set(zip(other.x, other.y, strict=True))
    return 2 * sum(point in there for point in zip(line.x, line.y, strict=True)) > len(line.x)


def boundaries(report: Report, title: str) -> tuple[float, ...]:
    """Where contexts begin on the chart `title`, over all its curves."""
    curves = [curve for method in report.methods for curve in report.curves_of(method, title)]
    return tuple(sorted({x for curve in curves for x in curve.boundaries}))


def marks(report: Report, title: str, method: str) -> tuple[float, ...]:
    """What a method's curves noticed on the chart `title`, over all its seeds."""
    return tuple(sorted(x for curve in report.curves_of(method, title) for x in curve.marks))


def _line(method: str, index: int, curves: Sequence[Curve], points: int) -> Line:
    seeds = zip(*(curve.y for curve in curves), strict=True)
    values = [() if None in row else tuple(float(y) for y in row if y is not None) for row in seeds]
    mean = [fsum(row) / len(row) if row else nan for row in values]
    kept = _thinned(mean, points)
    return Line(
        method=method,
        index=index,
        x=tuple(curves[0].x[k] for k in kept),
        y=tuple(mean[k] for k in kept),
        low=tuple(min(values[k], default=nan) for k in kept),
        high=tuple(max(values[k], default=nan) for k in kept),
        seeds=len(curves),
    )


def _thinned(y: Sequence[float], points: int) -> list[int]:
    """Rows to draw: of a long line the ends and each bucket's peak, trough and first gap."""
    if len(y) <= points:
        return [*range(len(y))]
    kept, buckets = {0, len(y) - 1}, points // 2
    for number in range(buckets):
        bucket = range(number * len(y) // buckets, (number + 1) * len(y) // buckets)
        known = [k for k in bucket if not isnan(y[k])]
        kept.update([k for k in bucket if isnan(y[k])][:1])
        if known:
            kept |= {min(known, key=y.__getitem__), max(known, key=y.__getitem__)}
    return sorted(kept)
