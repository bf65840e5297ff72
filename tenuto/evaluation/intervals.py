"""Means over seeds with their Student-t interval: mean +- t_{level, n-1} * s / sqrt(n).

Student, The probable error of a mean (1908). For whole degrees of freedom the t distribution has a closed
form (Abramowitz & Stegun 1964, 26.7.3-4), so the quantile is exact to rounding without a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, fsum, isfinite, pi, sin, sqrt, tan

from tenuto.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean over n seeds and how far to trust it.

    Args:
        mean: the mean.
        half_width: half the interval's width, in the mean's unit; None with one seed, which says nothing.
        n: how many seeds.
        level: the share of such intervals that hold the true mean.
    """

    mean: float
    half_width: float | None
    n: int
    level: float

    @property
    def low(self) -> float | None:
        """The lower end; None with one seed."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """The upper end; None with one seed."""
        return None if self.half_width is None else self.mean + self.half_width


def interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """The mean of `values`, one per seed, and its t-interval.

    >>> found = interval([1.0, 2.0, 3.0])
    >>> found.mean, round(found.half_width, 3)
    (2.0, 2.484)
    """
    if not values or not all(isfinite(v) for v in values):
        raise ConfigError(f"no interval over {list(values)}: give one finite value per seed, at least one")
    n, mean = len(values), fsum(values) / len(values)
    if n == 1:
        return Interval(mean=mean, half_width=None, n=1, level=level)
    deviation = sqrt(fsum((v - mean) ** 2 for v in values) / (n - 1))
    return Interval(mean=mean, half_width=critical(level, n - 1) * deviation / sqrt(n), n=n, level=level)


def paired_interval(a: Sequence[float], b: Sequence[float], *, level: float = 0.95) -> Interval:
    """The mean of a - b, seed by seed, and its t-interval: what the seeds share cancels out.

    >>> found = paired_interval([0.9, 0.8, 0.7], [0.8, 0.7, 0.6])
    >>> round(found.mean, 3), round(found.half_width, 3)
    (0.1, 0.0)
    """
    if len(a) != len(b):
        raise ConfigError(f"{len(a)} values beside {len(b)}: a paired difference needs the same seeds")
    return interval([x - y for x, y in zip(a, b, strict=True)], level=level)


def critical(level: float, freedom: int) -> float:
    """The t below which |T| falls with probability `level`, at `freedom` degrees of freedom.

    >>> round(critical(0.95, 1), 3), round(critical(0.95, 4), 3)
    (12.706, 2.776)
    """
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}: give a share between 0 and 1, as 0.95")
    if freedom < 1:
        raise ConfigError(f"freedom is {freedom}: give at least 1 degree of freedom")
    low, high = 0.0, pi / 2
    while low < (angle := (low + high) / 2) < high:
        if _coverage(angle, freedom) < level:
            low = angle
        else:
            high = angle
    return sqrt(freedom) * tan(low)


def _coverage(angle: float, freedom: int) -> float:
    """P(|T| < t) at tan(angle) = t / sqrt(freedom): a finite series in cos(angle)."""
    odd = freedom % 2
    term = cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cos(angle) ** 2 * (k - 1) / k
        total += term
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
