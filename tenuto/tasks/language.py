"""Language: a target is an answer's tokens; the loss is their mean cross-entropy, in nats per token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenuto.errors import ExampleError
from tenuto.likelihood import log_likelihood
from tenuto.types import Label, Prediction, State

ABSENT = -1
"""Where a target has no token: behind the answer."""


class Language:
    """Answers as tokens: targets (n, a), `ABSENT` behind the last; outputs (n, l, v) of the first l of them.

    >>> task = Language()
    >>> task.encode([[4, 2, -1.0]]).tolist()
    [[4, 2, -1]]
    >>> task.right(torch.eye(3)[None], torch.tensor([[0, 1, -1]]))
    [True]
    """

    classes: tuple[Label, ...] = ()
    categorical = True

    def grow(self, labels: Sequence[Label]) -> None:
        """A vocabulary does not grow."""

    def shrink(self, count: int) -> None:
        """Nor shrink."""

    def unknown(self, targets: Any, columns: int) -> list[Label]:
        """Language knows no labels."""
        return []

    def encode(self, targets: Any) -> Tensor:
        """Tokens (n, a) int64, at least one in each row; what is no token is refused."""
        try:
            tokens = torch.as_tensor(np.asarray(targets))
        except (TypeError, ValueError) as error:
            raise ExampleError(f"an answer is a row of tokens: {error}") from error
        if tokens.dim() != 2 or tokens.is_complex():
            raise ExampleError(f"answers are rows of tokens (n, a), not of shape {tuple(tokens.shape)}")
        whole = tokens.long()
        if bool((whole != tokens).any() | (whole < ABSENT).any()):
            raise ExampleError(f"an answer's tokens are whole numbers from 0, and {ABSENT} behind the last")
        if bool((whole[:, 0] == ABSENT).any()):
            raise ExampleError("an answer without a token teaches nothing; leave the row out")
        return whole

    def groups(self, targets: Tensor) -> Tensor:
        """All rows are of one group."""
        return torch.zeros(len(targets), dtype=torch.int64)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy (n,) of each row's tokens, in nats."""
        wanted = targets[:, : outputs.shape[1]]
        present = wanted != ABSENT
        found = log_likelihood(outputs, wanted.clamp(min=0)[:, :, None], present)
        return -found[:, :, 0].sum(1) / present.sum(1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean of `losses`: a long answer weighs as much as a short one."""
        return self.losses(outputs, targets).mean()

    def right(self, outputs: Tensor, targets: Tensor) -> list[bool]:
        """Which of n answers would be given token by token, each after the right ones before it."""
        wanted = targets[:, : outputs.shape[1]]
        found: list[bool] = ((outputs.argmax(2) == wanted) | (wanted == ABSENT)).all(1).tolist()
        return found

    def answer(self, outputs: Tensor) -> Prediction:
        """The likeliest token at each place of the answer."""
        return Prediction(outputs.argmax(2).tolist(), outputs)

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""
