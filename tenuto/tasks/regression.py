"""Regression: a target is a number or a vector of k numbers; the loss is half the squared error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tenuto.errors import ExampleError
from tenuto.types import Label, Prediction, State


class Regression:
    """Numbers as targets.

    >>> Regression().encode([1.0, 2.0]).shape
    torch.Size([2, 1])
    """

    classes: tuple[Label, ...] = ()

    def grow(self, labels: Sequence[Label]) -> None:
        """Regression has no labels to grow by."""

    def shrink(self, count: int) -> None:
        """Regression has no labels to take back."""

    def unknown(self, targets: Any) -> list[Label]:
        """Regression knows no labels."""
        return []

    def encode(self, targets: Any) -> Tensor:
        """Targets (n, k) as float32; NaN and infinity are refused."""
        try:
            numbers = torch.as_tensor(targets, dtype=torch.float32)
        except (TypeError, ValueError) as error:
            raise ExampleError(
                f"a regression target must be a number or a vector of numbers: {error}"
            ) from error
        if not bool(numbers.sum().isfinite()):
            row = int((~numbers.view(len(numbers), -1).isfinite().all(1)).nonzero()[0])
            raise ExampleError(f"the target of row {row} is not finite")
        return numbers.view(len(numbers), -1)

    def groups(self, targets: Tensor) -> Tensor:
        """All rows are of one group."""
        return torch.zeros(len(targets), dtype=torch.int64)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Half the squared error (n,) of each row, summed over the k outputs."""
        return 0.5 * (outputs - targets).square().sum(1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean of `losses`."""
        return self.losses(outputs, targets).mean()

    def correct(self, outputs: Tensor, targets: Tensor) -> None:
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
