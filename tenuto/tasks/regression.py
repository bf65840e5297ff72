"""Regression: a target is a number or a vector of k numbers; the loss is half the squared error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenuto.errors import ExampleError
from tenuto.trees import LARGEST, squarable
from tenuto.types import Label, Prediction, State


class Regression:
    """Numbers as targets.

    >>> Regression().encode([1.0, 2.0]).shape
    torch.Size([2, 1])
    """

    classes: tuple[Label, ...] = ()
    categorical = False

    def grow(self, labels: Sequence[Label]) -> None:
        """Regression has no labels to grow by."""

    def shrink(self, count: int) -> None:
        """Regression has no labels to take back."""

    def unknown(self, targets: Any, columns: int) -> list[Label]:
        """Regression knows no labels."""
        return []

    def encode(self, targets: Any) -> Tensor:
        """Targets (n, k) as float32; NaN, infinity and what cannot be squared are refused."""
        numbers = targets if isinstance(targets, Tensor) else torch.from_numpy(_array(targets))
        numbers = numbers.to(torch.float32).reshape(len(numbers), -1)
        if not squarable(numbers):
            for row, target in enumerate(numbers):
                if not squarable(target):
                    raise ExampleError(f"the target of row {row} is NaN, infinite or beyond {LARGEST:.0e}")
        return numbers

    def groups(self, targets: Tensor) -> Tensor:
        """All rows are of one group."""
        return torch.zeros(len(targets), dtype=torch.int64)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Half the squared error (n,) of each row, summed over the k outputs."""
        return 0.5 * (outputs - targets).square().sum(1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean of `losses`."""
        return self.losses(outputs, targets).mean()

    def right(self, outputs: Tensor, targets: Tensor) -> None:
        """No number is right or wrong: None."""

    def answer(self, outputs: Tensor) -> Prediction:
        """The outputs as numbers (k = 1) or vectors."""
        numbers = outputs.squeeze(1) if outputs.shape[1] == 1 else outputs
        return Prediction(numbers.tolist(), outputs)

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


def _array(targets: Any) -> NDArray[Any]:
    try:
        numbers = np.asarray(targets)
    except (TypeError, ValueError) as error:
        raise ExampleError(f"targets must be numbers, or vectors of one length: {error}") from error
    if numbers.dtype.kind not in "iuf":
        raise ExampleError(f"targets must be numbers, or vectors of one length; got {targets!r:.80}")
    return numbers
