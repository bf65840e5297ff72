"""Progressive (test-then-train, prequential) accuracy: each row is predicted before it is learned.

Gama, Sebastiao & Rodrigues, On evaluating stream learning algorithms (2013). `hits` says for each row, in
stream order, whether the prediction made before learning it was right; every answer k uses rows 1..k only.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenuto.errors import ConfigError

Floats = NDArray[np.float64]


def cumulative_accuracy(hits: ArrayLike) -> Floats:
    """(n,) after each row, the share of all rows so far that were right; the last is the headline figure.

    >>> cumulative_accuracy([True, False, True, True]).tolist()
    [1.0, 0.5, 0.6666666666666666, 0.75]
    """
    right = _checked(hits)
    return np.cumsum(right) / np.arange(1, len(right) + 1)


def windowed_accuracy(hits: ArrayLike, *, window: int) -> Floats:
    """(n,) after each row, the share of the last `window` rows that were right (of fewer, at the start).

    >>> windowed_accuracy([True, False, True, True], window=2).tolist()
    [1.0, 0.5, 0.5, 1.0]
    """
    right = _checked(hits)
    if window < 1:
        raise ConfigError(f"window is {window}: give at least 1 row")
    total = np.cumsum(right)
    total[window:] -= total[:-window].copy()
    return total / np.minimum(np.arange(1, len(right) + 1), window)


def fading_accuracy(hits: ArrayLike, *, fading: float = 0.999) -> Floats:
    """(n,) after each row, the mean in which a row k steps back weighs fading**k; 1 is the cumulative mean.

    >>> fading_accuracy([True, False], fading=0.5).round(3).tolist()
    [1.0, 0.333]
    """
    right = _checked(hits)
    if not 0 < fading <= 1:
        raise ConfigError(f"fading is {fading}: give a factor in (0, 1]")

    def fade(values: Floats) -> Floats:
        return np.fromiter(accumulate(values.tolist(), lambda faded, new: fading * faded + new), np.float64)

    return fade(right) / fade(np.ones_like(right))


def anytime_average(accuracies: ArrayLike, *, moments: ArrayLike | None = None) -> float:
    """The average of an accuracy measured again and again while learning (anytime accuracy, Caccia 2022).

    Args:
        accuracies: (m,) accuracies at m moments, as `AccuracyMatrix.average_so_far`.
        moments: (m,) rows seen at each, ascending: weighs each span between two moments by its length
            (trapezoid rule). None: every moment weighs the same.

    >>> anytime_average([1.0, 0.5])
    0.75
    >>> anytime_average([0.5, 1.0, 1.0], moments=[0, 10, 100])
    0.975
    """
    values = np.asarray(accuracies, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ConfigError(f"accuracies has shape {values.shape}: give a non-empty row of finite numbers")
    if moments is None:
        return float(values.mean())
    spans = np.diff(np.asarray(moments, dtype=np.float64))
    if spans.shape != (len(values) - 1,) or not len(spans) or not (spans > 0).all():
        raise ConfigError(f"moments must be {len(values)} ascending numbers, at least 2, one per accuracy")
    return float((spans * (values[1:] + values[:-1]) / 2).sum() / spans.sum())


def _checked(hits: ArrayLike) -> Floats:
    right = np.asarray(hits, dtype=np.float64)
    if right.ndim != 1 or not len(right):
        raise ConfigError(f"hits has shape {right.shape}: give one answer per row, at least one")
    wrong = ~np.isin(right, (0.0, 1.0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ConfigError(f"hits[{row}] is {right[row]}: give True or False (1 or 0)")
    return right
