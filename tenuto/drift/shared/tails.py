"""Tails of the distributions that thresholds come from, in closed form.

Chi-squared with whole degrees of freedom (Abramowitz & Stegun 1964, 26.4.4-5): a finite series after
erfc(sqrt(x / 2)) or exp(-x / 2). The two-sample Kolmogorov-Smirnov statistic of two samples of the same size
(Gnedenko & Korolyuk 1951) and two-by-two tables (Fisher 1935): exact, by counting.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, erfc, exp, lgamma, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from tenuto.errors import ConfigError


def chi_squared(x: float, freedom: int) -> float:
    """P(X >= x) at `freedom` degrees of freedom.

    >>> round(chi_squared(3.841459, 1), 6), round(chi_squared(16.918978, 9), 6)
    (0.05, 0.05)
    """
    if freedom < 1:
        raise ConfigError(f"freedom is {freedom}: give at least 1 degree of freedom")
    if x <= 0:
        return 1.0
    half = x / 2
    total, term, start = (
        (erfc(sqrt(half)), 2 * sqrt(half / pi) * exp(-half), 1.5) if freedom % 2 else (0.0, exp(-half), 1.0)
    )
    for i in range(freedom // 2):
        total += term
        term *= half / (start + i)
    return total


@lru_cache(maxsize=256)
def chi_squared_critical(chance: float, freedom: int) -> float:
    """The x that a chi-squared variable exceeds with probability `chance`.

    >>> round(chi_squared_critical(0.01, 9), 3)
    21.666
    """
    if not 0 < chance < 1:
        raise ConfigError(f"chance is {chance}: give a probability between 0 and 1, as 0.01")
    low, high = 0.0, 2.0 * freedom
    while chi_squared(high, freedom) > chance:
        high *= 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if chi_squared(middle, freedom) > chance else (low, middle)
    return high


@lru_cache(maxsize=4096)
def kolmogorov_smirnov(steps: int, n: int) -> float:
    """P(D >= steps / n) for the distance D of the empirical distributions of two samples of size n.

    2 sum_j (-1)^(j-1) C(2n, n - j steps) / C(2n, n), j from 1.

    >>> round(kolmogorov_smirnov(15, 30), 6)
    0.0009
    """
    if steps <= 0:
        return 1.0
    signed = (comb(2 * n, n - j * steps) * (1 if j % 2 else -1) for j in range(1, n // steps + 1))
    return min(1.0, 2 * sum(signed) / comb(2 * n, n))


def tables(first: int, second: int, successes: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The two-by-two tables of `first` and `second` trials that share `successes`, and their chances.

    Returns: how many successes may be among the second's trials (t,), and the chance of each (t,).

    >>> counts, chances = tables(2, 2, 2)
    >>> counts.tolist(), chances.round(4).tolist()
    ([0, 1, 2], [0.1667, 0.6667, 0.1667])
    """
    counts = range(max(0, successes - first), min(second, successes) + 1)
    logs = [_log_comb(first, successes - j) + _log_comb(second, j) for j in counts]
    whole = _log_comb(first + second, successes)
    return np.array(counts, dtype=np.int64), np.exp(np.array(logs) - whole)


def _log_comb(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
