"""Two samples as histograms, the first of which made the bins.

KL(q || p) = sum q ln(q / p) in nats, q the newer and p the older sample's share of each bin, both smoothed
by a Dirichlet prior of 0.5 per bin, so that it is finite on empty bins. Where nothing moved, 2 n' KL ~
chi-squared with k - 1 degrees (Wilks 1938), n' = n m / (n + m), because the older m values are a sample as
the newer n are. With two bins, as of errors, the p-value is exact (Fisher 1935): the sum of the tables that
diverge as much.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import inf

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tenuto.drift.shared.tails import chi_squared, chi_squared_critical, tables

PRIOR = 0.5
_SAME = 1e-12
EXPECTED = 10
"""Values that a bin should hold on average, lest chi-squared say too little."""


class Bins(Struct, frozen=True):
    """Bins (-inf, e1], (e1, e2], ..., (ek, inf), and how many older values each holds.

    Of a single edge whose second bin was empty, the bins are "equal to it" and "other".
    """

    edges: list[float]
    counts: list[int]

    def place(self, value: float) -> int:
        """The bin of a value.

        >>> Bins([1.0, 2.0], [3, 3, 3]).place(2.0), Bins([1.0], [9, 0]).place(0.5)
        (1, 1)
        """
        if len(self.edges) == 1 and self.counts[1] == 0:
            return int(value != self.edges[0])
        return bisect_left(self.edges, value)


def divide(values: Sequence[float], bins: int, newer: int) -> Bins:
    """At most `bins` bins that hold about the same share of `values`, for comparing with `newer` values.

    Equal values share a bin; a bin in which too few of the newer values are to be expected is joined to the
    smaller one beside it. Never fewer than two.

    >>> divide([float(i % 100) for i in range(500)], 4, 200)
    Bins(edges=[24.0, 49.0, 74.0], counts=[125, 125, 125, 125])
    >>> divide([0.0] * 495 + [1.0] * 5, 10, 200), divide([3.0] * 500, 10, 200)
    (Bins(edges=[0.0], counts=[495, 5]), Bins(edges=[3.0], counts=[500, 0]))
    """
    ranked = np.sort(np.asarray(values, dtype=np.float64))
    m = len(ranked)
    if ranked[0] == ranked[-1]:
        return Bins([float(ranked[0])], [m, 0])
    at = np.ceil(np.arange(1, bins) * m / bins).astype(np.int64) - 1
    edges = [float(edge) for edge in np.unique(ranked[at]) if edge < ranked[-1]]
    counts = _counts(ranked, edges)
    while len(counts) > 2 and min(counts) * newer < EXPECTED * m:
        least = counts.index(min(counts))
        left = least > 0 and (least == len(counts) - 1 or counts[least - 1] <= counts[least + 1])
        del edges[least - 1 if left else least]
        counts = _counts(ranked, edges)
    if len(counts) > 2 or (edges and min(counts) * newer >= EXPECTED * m):
        return Bins(edges, counts)
    distinct = np.unique(ranked)[:-1]
    halves = np.abs(2 * np.searchsorted(ranked, distinct, side="right") - m)
    evenest = [float(distinct[int(halves.argmin())])]
    return Bins(evenest, _counts(ranked, evenest))


def _counts(ranked: NDArray[np.float64], edges: Sequence[float]) -> list[int]:
    ends = np.searchsorted(ranked, edges, side="right")
    return [int(n) for n in np.diff(np.concatenate([[0], ends, [len(ranked)]]))]


class Divergence(Struct, frozen=True):
    """KL in nats, what it must reach for a drift, and the chance that it does so without one."""

    kl: float
    threshold: float
    p_value: float


def divergence(older: Sequence[int], newer: Sequence[int], chance: float) -> Divergence:
    """How the newer counts (k,) diverge from the older (k,), and what they must reach to be a drift.

    >>> found = divergence([50] * 10, [20] * 10, 0.01)
    >>> round(found.kl, 6), round(found.threshold, 4), found.p_value
    (0.0, 0.0758, 1.0)
    """
    p, q = np.array(older, dtype=np.int64), np.array(newer, dtype=np.int64)
    found = float(_kl(p, q))
    m, n = int(p.sum()), int(q.sum())
    if len(p) == 2:
        moved, chances = tables(m, n, int(p[1] + q[1]))
        shared = int(p[1] + q[1]) - moved
        all_kl = _kl(np.stack([m - shared, shared], axis=1), np.stack([n - moved, moved], axis=1))
        order = np.argsort(-all_kl, kind="stable")
        ranked = all_kl[order]
        reach = np.cumsum(chances[order])[np.searchsorted(-ranked, _SAME - ranked, side="right") - 1]
        passing = ranked[reach <= chance]
        p_value = min(1.0, float(chances[all_kl >= found - _SAME].sum()))
        return Divergence(found, float(passing[-1]) if len(passing) else inf, p_value)
    effective = n * m / (n + m)
    threshold = chi_squared_critical(chance, len(p) - 1) / (2 * effective)
    return Divergence(found, threshold, chi_squared(2 * effective * found, len(p) - 1))


def _kl(older: NDArray[np.int64], newer: NDArray[np.int64]) -> NDArray[np.float64]:
    """KL of smoothed counts (..., k)."""
    p, q = older + PRIOR, newer + PRIOR
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    return np.asarray((q * np.log(q / p)).sum(-1))
