"""Chi-squared tests of draws against the law they claim."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LIKELY = 1e-3
"""A p-value above this is no evidence against the law; the draws are fixed by their seeds, so none flakes."""
REFUTED = 1e-9
"""A p-value below this refutes it."""


def of_counts(counts: ArrayLike, chances: ArrayLike) -> float:
    """The p-value of independent draws that fell `counts` times on outcomes of these chances."""
    observed, weights = np.asarray(counts, float), np.asarray(chances, float)
    return float(stats.chisquare(observed, observed.sum() * weights / weights.sum()).pvalue)


def of_subsets(counts: ArrayLike, size: int, times: int) -> float:
    """The p-value of `times` uniform subsets of `size` rows that held row i counts[i] times.

    Rows of one subset exclude one another: a count has variance t p (1 - p) and two of them covariance
    -t p (1 - p) / (n - 1), which makes the sum of squares below chi-squared with n - 1 degrees.
    """
    observed = np.asarray(counts, float)
    n = len(observed)
    p = size / n
    squares = ((observed - times * p) ** 2).sum() / (times * p * (1 - p) * n / (n - 1))
    return float(stats.chi2.sf(squares, n - 1))


def of_pairs(subsets: ArrayLike, n: int) -> float:
    """The p-value of every pair of n rows being equally often in one subset (t, k).

    Pairs are weakly dependent, so this is not exact; it is far from `REFUTED` where the law holds.
    """
    picks = np.asarray(subsets)
    held = np.zeros((len(picks), n))
    np.put_along_axis(held, picks, 1, axis=1)
    together = (held.T @ held)[np.triu_indices(n, 1)]
    return of_counts(together, np.ones_like(together))
