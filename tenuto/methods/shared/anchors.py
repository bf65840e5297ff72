"""Anchors: rows that are never learned, and what the model answered to them before it learned anything.

A language model forgets what nobody shows it. Anchors are texts it is held to: of each answer's token the k
likeliest and their log-probabilities are kept, all others as one (k = 20 does no worse than the vocabulary).
The invariant: they are given once, before the first step, and do not change.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

from tenuto.errors import ConfigError
from tenuto.protocols import View
from tenuto.randomness import choose
from tenuto.types import Recalled, State, Trace

LIKELIEST = 20


class Anchors:
    """Rows and what is kept of their first answers.

    >>> anchors = Anchors()
    >>> anchors.hold(torch.zeros(2, 3), torch.tensor([0, 1]), *likeliest(torch.eye(2)))
    >>> len(anchors), anchors.sample(1, step=0, draw="demo", seed=0).columns["likeliest"].shape
    (2, torch.Size([1, 2]))
    """

    def __init__(self) -> None:
        self._columns: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self._columns["inputs"]) if self._columns else 0

    @property
    def columns(self) -> Mapping[str, Tensor]:
        """What is kept, row by row: "inputs", "targets", "likeliest", "chances"; nothing before `hold`."""
        return self._columns

    def hold(self, inputs: Tensor, targets: Tensor, likeliest: Tensor, chances: Tensor) -> None:
        """Take rows (n, *shape), their targets, and what `likeliest` found in their outputs.

        Raises:
            ConfigError: there are anchors already.
        """
        if len(self):
            raise ConfigError("the anchors are given once: what they are held to is what was answered then")
        rows = {"inputs": inputs, "targets": targets, "likeliest": likeliest, "chances": chances}
        self._columns = {name: column.detach().clone() for name, column in rows.items()}

    def sample(self, n: int, step: int, draw: str, seed: int) -> Recalled | None:
        """At most n of them under the draws of (seed, step, draw); None where there are none."""
        if not len(self) or n < 1:
            return None
        chosen = torch.from_numpy(choose(seed, draw, step, min(n, len(self)), len(self))[0])
        rows = {name: column.index_select(0, chosen) for name, column in self._columns.items()}
        return Recalled(rows, torch.empty(0, dtype=torch.int64), None)

    def observe(self, trace: Trace) -> None:
        """Anchors do not move."""

    def consolidate(self, view: View) -> None:
        """Nor do they when a context ends."""

    def state(self) -> State:
        """All that is kept."""
        return dict(self._columns)

    def load_state(self, state: State) -> None:
        """Take saved anchors."""
        self._columns = {name: column.detach().clone() for name, column in state.items()}


def likeliest(outputs: Tensor, room: int = 0) -> tuple[Tensor, Tensor]:
    """The k likeliest columns of outputs (n, ..., c), and their log-probabilities, (n, ..., k) each.

    Args:
        room: tokens that a row of sequences is padded to.

    Raises:
        ConfigError: an output is not finite.
    """
    if not bool(outputs.isfinite().all()):
        raise ConfigError("the model answers an anchor with NaN or infinity")
    chances = outputs.detach().float().log_softmax(-1)
    found = chances.topk(min(LIKELIEST, chances.shape[-1]), -1)
    if outputs.dim() == 2:
        return found.indices, found.values
    more = (0, 0, 0, room - outputs.shape[1])
    return pad(found.indices, more), pad(found.values, more)
