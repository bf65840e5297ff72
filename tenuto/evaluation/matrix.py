"""The accuracy matrix: a[t, i] is the accuracy on context i after learning context t.

Lopez-Paz & Ranzato, Gradient Episodic Memory for Continual Learning (2017), equations 2-4.
Contexts are learned in column order: row t is measured right after context t. At and below the diagonal
every cell is measured; above it NaN says that nobody looked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenuto.errors import ConfigError

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, init=False)
class AccuracyMatrix:
    """What was known of each context at each moment.

    Args:
        values: (t, c) accuracies in [0, 1], t <= c; rows are moments, columns contexts. A run that
            stopped early has fewer rows; only its t learned contexts enter the measures.
        baseline: (c,) accuracies of the randomly initialised model; forward transfer needs it.

    Raises:
        ConfigError: a shape does not fit, a cell lies outside [0, 1], or one at or below the diagonal is NaN.

    >>> m = AccuracyMatrix(values=[[0.9, 0.2], [0.7, 0.8]], baseline=[0.1, 0.1])
    >>> round(m.average_accuracy, 3), round(m.forgetting, 3), round(m.forward_transfer, 3)
    (0.75, 0.2, 0.1)
    """

    values: Floats
    baseline: Floats | None = None

    def __init__(self, *, values: ArrayLike, baseline: ArrayLike | None = None) -> None:
        object.__setattr__(self, "values", _frozen(values, "values"))
        object.__setattr__(self, "baseline", None if baseline is None else _frozen(baseline, "baseline"))
        self._check()

    def _check(self) -> None:
        shape = self.values.shape
        if len(shape) != 2 or not 1 <= shape[0] <= shape[1]:
            raise ConfigError(f"values has shape {shape}: give (moments, contexts), 1 <= moments <= contexts")
        outside = (self.values < 0) | (self.values > 1) | np.tril(np.isnan(self.values))
        if outside.any():
            t, i = np.argwhere(outside)[0]
            raise ConfigError(
                f"values[{t}, {i}] is {self.values[t, i]}: accuracies lie in [0, 1], and only contexts "
                "not yet learned (above the diagonal) may be NaN"
            )
        if self.baseline is None:
            return
        if self.baseline.shape != (self.contexts,):
            raise ConfigError(f"baseline has shape {self.baseline.shape}: give ({self.contexts},)")
        if not ((self.baseline >= 0) & (self.baseline <= 1)).all():
            raise ConfigError(f"baseline is {self.baseline.tolist()}: accuracies lie in [0, 1]")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AccuracyMatrix):
            return NotImplemented
        if (self.baseline is None) != (other.baseline is None):
            return False
        return np.array_equal(self.values, other.values, equal_nan=True) and (
            self.baseline is None or np.array_equal(self.baseline, other.baseline)  # type: ignore[arg-type]
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def moments(self) -> int:
        """Contexts learned so far: the number of rows."""
        return int(self.values.shape[0])

    @property
    def contexts(self) -> int:
        """Contexts known: the number of columns."""
        return int(self.values.shape[1])

    @property
    def average_accuracy(self) -> float:
        """The mean of the last row over the learned contexts (ACC, Lopez-Paz 2017).

        >>> AccuracyMatrix(values=[[1.0, 0.0], [0.5, 1.0]]).average_accuracy
        0.75
        """
        return float(self.values[-1, : self.moments].mean())

    @property
    def learning_accuracy(self) -> float:
        """The mean of the diagonal: each context right after it was learned (LA, Riemer 2019)."""
        return float(np.diagonal(self.values).mean())

    @property
    def average_so_far(self) -> Floats:
        """(t,) after each moment, the mean accuracy on the contexts learned until then."""
        return np.array([row[: t + 1].mean() for t, row in enumerate(self.values)])

    @property
    def backward_transfer(self) -> float | None:
        """The mean over earlier contexts of a[T, i] - a[i, i] (BWT, Lopez-Paz 2017); None with one moment.

        >>> round(AccuracyMatrix(values=[[0.9, 0.0], [0.6, 0.8]]).backward_transfer, 3)
        -0.3
        """
        if self.moments == 1:
            return None
        return float((self.values[-1, : self.moments - 1] - np.diagonal(self.values)[:-1]).mean())

    @property
    def forward_transfer(self) -> float | None:
        """The mean over learned contexts but the first of a[i-1, i] - baseline[i] (FWT, Lopez-Paz 2017).

        None without a baseline, with one moment, or where a context was not tested before it was learned.
        """
        if self.baseline is None or self.moments == 1:
            return None
        before = np.diagonal(self.values, offset=1)[: self.moments - 1]
        return None if np.isnan(before).any() else float((before - self.baseline[1 : self.moments]).mean())

    @property
    def forgetting_by_context(self) -> Floats:
        """(t - 1,) for each earlier context, max over l < T of a[l, i], less a[T, i] (Chaudhry 2018).

        >>> AccuracyMatrix(values=[[0.5, 0, 0], [0.75, 1, 0], [0.25, 1, 1]]).forgetting_by_context
        array([0.5, 0. ])
        """
        earlier = self.moments - 1
        best = np.fmax.reduce(self.values[:-1, :earlier], axis=0, initial=-np.inf)
        return np.asarray(best - self.values[-1, :earlier])

    @property
    def forgetting(self) -> float | None:
        """The mean of `forgetting_by_context`; None with one moment. Below zero: later learning helped."""
        return float(self.forgetting_by_context.mean()) if self.moments > 1 else None

    def to_plain(self) -> dict[str, Any]:
        """Lists of floats, None for NaN: what JSON can hold."""
        values = [[None if np.isnan(a) else float(a) for a in row] for row in self.values]
        return {"values": values, "baseline": None if self.baseline is None else self.baseline.tolist()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> AccuracyMatrix:
        """The inverse of `to_plain`; ConfigError where a key is missing or unknown."""
        if set(plain) != {"values", "baseline"}:
            raise ConfigError(f"an accuracy matrix has the keys values and baseline, not {sorted(plain)}")
        return cls(values=plain["values"], baseline=plain["baseline"])


def average(matrices: Sequence[AccuracyMatrix]) -> AccuracyMatrix:
    """The cell-by-cell mean over seeds; a cell is NaN, and the baseline None, where any seed has none.

    >>> average([AccuracyMatrix(values=[[0.5]]), AccuracyMatrix(values=[[1.0]])]).average_accuracy
    0.75
    """
    shapes = {m.values.shape for m in matrices}
    if len(shapes) != 1:
        raise ConfigError(f"matrices of shapes {sorted(shapes)} have no mean: give matrices of one shape")
    baselines = [m.baseline for m in matrices if m.baseline is not None]
    every = len(baselines) == len(matrices)
    return AccuracyMatrix(
        values=reduce(np.add, [m.values for m in matrices]) / len(matrices),
        baseline=reduce(np.add, baselines) / len(matrices) if every else None,
    )


def _frozen(cells: ArrayLike, name: str) -> Floats:
    try:
        array = np.array(cells, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} is no rectangle of numbers: {error}") from error
    array.setflags(write=False)
    return array
