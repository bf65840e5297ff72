"""Calibration: does a confidence of 80 % mean right 80 times in 100?

Guo et al., On Calibration of Modern Neural Networks (2017): rows are sorted into equal-width bins of
confidence, ECE = sum over bins of (rows in the bin / all rows) * |accuracy - confidence|.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenuto.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reliability:
    """Confidence beside accuracy, bin by bin; bin m holds confidences in (m / bins, (m + 1) / bins].

    Args:
        rows: (bins,) rows in each bin.
        confidence: (bins,) their mean largest probability; NaN in an empty bin.
        accuracy: (bins,) the share of them that was right; NaN in an empty bin.
    """

    rows: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def reliability(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 15) -> Reliability:
    """The reliability diagram's numbers.

    Args:
        probabilities: (n, k) in [0, 1], each row summing to 1 within 1e-3.
        labels: (n,) the true class of each row, a whole number in [0, k).
        bins: how many bins of equal width.

    >>> reliability([[0.9, 0.1], [0.6, 0.4]], [0, 1], bins=2).rows.tolist()
    [0, 2]
    """
    p, label = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    _check(p, label, bins)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == label
    at = np.searchsorted(np.arange(1, bins) / bins, confidence)
    rows = np.bincount(at, minlength=bins)
    held = np.where(rows > 0, rows, np.nan)
    return Reliability(
        rows=rows,
        confidence=np.bincount(at, weights=confidence, minlength=bins) / held,
        accuracy=np.bincount(at, weights=right, minlength=bins) / held,
    )


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 15) -> float:
    """ECE in [0, 1] (Guo 2017); arguments as for `reliability`.

    >>> round(expected_calibration_error([[0.9, 0.1], [0.6, 0.4]], [0, 1], bins=2), 3)
    0.25
    """
    found = reliability(probabilities, labels, bins=bins)
    return float(np.nansum(found.rows * np.abs(found.accuracy - found.confidence)) / found.rows.sum())


def _check(p: NDArray[np.float64], label: NDArray[np.generic], bins: int) -> None:
    if bins < 1:
        raise ConfigError(f"bins is {bins}: give at least 1")
    if p.ndim != 2 or 0 in p.shape or label.shape != p.shape[:1]:
        raise ConfigError(f"probabilities {p.shape} beside labels {label.shape}: give (n, k) and (n,), n > 0")
    bad = ~((p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1) <= 1e-3))
    if bad.any():
        row = int(np.argmax(bad))
        raise ConfigError(f"probabilities[{row}] is {p[row].tolist()}: give shares that sum to 1")
    wrong = ~np.isin(label, np.arange(p.shape[1]))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ConfigError(f"labels[{row}] is {label[row]!r}: give a class from 0 to {p.shape[1] - 1}")
