"""The lines of a chart: one per method, the mean of its seeds and the range they span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenuto.evaluation.report import Curve, Report

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
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
    """

    method: str
    index: int
    x: Floats
    y: Floats
    low: Floats
    high: Floats
    seeds: int

    @property
    def last(self) -> float | None:
        """The last value that was measured."""
        known = self.y[~np.isnan(self.y)]
        return float(known[-1]) if len(known) else None


def lines(report: Report, title: str, *, points: int = 600) -> list[Line]:
    """Every method's line of the chart `title`; seeds measured at other positions keep a line each.

    Args:
        report: where the curves are.
        title: which of them.
        points: draw at most about so many, keeping every peak and trough.

    >>> from tenuto.evaluation.report import Run
    >>> seeds = [Curve(x=(1, 2), y=y, x_label="rows", y_label="a") for y in [(0.0, 1.0), (1.0, 1.0)]]
    >>> runs = [Run(method="er", seed=s, curves={"a": curve}) for s, curve in enumerate(seeds)]
    >>> lines(Report(title="t", runs=runs), "a")[0].y.tolist()
    [0.5, 1.0]
    """
    found = []
    for index, method in enumerate(report.methods):
        curves = report.curves_of(method, title)
        together = len({curve.x for curve in curves}) == 1
        for group in [curves] if together else [(curve,) for curve in curves]:
            found.append(_line(method, index, group, points))
    return found


def boundaries(report: Report, title: str) -> tuple[float, ...]:
    """Where contexts begin on the chart `title`, over all its curves."""
    curves = [curve for method in report.methods for curve in report.curves_of(method, title)]
    return tuple(sorted({x for curve in curves for x in curve.boundaries}))


def _line(method: str, index: int, curves: Sequence[Curve], points: int) -> Line:
    y = np.array([curve.y for curve in curves], dtype=np.float64)
    mean = y.mean(axis=0)
    kept = _thinned(mean, points)
    return Line(
        method=method,
        index=index,
        x=np.array(curves[0].x)[kept],
        y=mean[kept],
        low=y.min(axis=0)[kept],
        high=y.max(axis=0)[kept],
        seeds=len(curves),
    )


def _thinned(y: Floats, points: int) -> NDArray[np.int64]:
    """Rows to draw: of a long line the ends and each bucket's peak, trough and first gap."""
    if len(y) <= points:
        return np.arange(len(y))
    kept = {0, len(y) - 1}
    for bucket in np.array_split(np.arange(len(y)), points // 2):
        gap = np.isnan(y[bucket])
        if gap.any():
            kept.add(int(bucket[np.argmax(gap)]))
        if not gap.all():
            kept |= {int(bucket[np.nanargmin(y[bucket])]), int(bucket[np.nanargmax(y[bucket])])}
    return np.array(sorted(kept))
