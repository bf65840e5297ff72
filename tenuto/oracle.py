"""The oracle: what update rules may ask of memory and of the objective. Asking changes nothing."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenuto.counters import Counters
from tenuto.memory import ReplayBuffer
from tenuto.methods.shared.estimators import plain
from tenuto.models import Body
from tenuto.protocols import Objective
from tenuto.randomness import span, torch_draws, uniform
from tenuto.trees import Tree
from tenuto.types import Batch

_STEPS = 256
_NONE: tuple[int, NDArray[np.float64]] = (-1, np.zeros((0, 0)))


class Oracle:
    """Answers at the parameters of this step.

    Args:
        body, objective, memory, counters: the learner's own.
        seed: key of the draws.
    """

    def __init__(
        self, body: Body, objective: Objective, memory: ReplayBuffer | None, counters: Counters, seed: int
    ) -> None:
        self._body = body
        self._objective = objective
        self._memory = memory
        self._counters = counters
        self._seed = seed
        self._drawn: dict[tuple[str, int], tuple[int, NDArray[np.float64]]] = {}

    @property
    def group(self) -> int:
        """The number of the present context."""
        return self._counters.consolidations

    def gradient_on(self, batch: Batch) -> Tree:
        """The gradient of the objective on a batch; what the model draws is keyed by the step."""
        buffers = self._body.buffers()
        try:
            with torch.enable_grad(), torch_draws(self._seed, "oracle", self._counters.steps):
                return plain(self._objective, self._body.params, batch).grads
        finally:
            self._body.restore(buffers)

    def recall(self, n: int, draw: str, *, past: bool = False) -> Batch | None:
        """At most n rows from memory under the draws of this step; None where there are none."""
        memory, step = self._memory, self._counters.steps
        if memory is not None and past and self.group:
            earlier = memory.outside(self.group)
            if not len(earlier):
                return None
            picks = (self._uniform(draw, step, n) * len(earlier)).astype(np.int64)
            return self._rows(memory, earlier.index_select(0, torch.from_numpy(picks)))
        recalled = None if memory is None else memory.sample(n, step, draw)
        if recalled is None:
            return None
        columns = recalled.columns
        return Batch(self._body.read(columns["inputs"]), columns["targets"], recalled.weights)

    def groups(self) -> dict[int, Batch]:
        """All remembered rows by group."""
        memory = self._memory
        return {} if memory is None else {g: self._rows(memory, s) for g, s in memory.members().items()}

    def _uniform(self, draw: str, step: int, n: int) -> NDArray[np.float64]:
        """The n draws of a step; those of the steps around it are made together, and kept."""
        block, place = divmod(step, _STEPS)
        drawn, numbers = self._drawn.get((draw, n), _NONE)
        if drawn != block:
            numbers = uniform(self._seed, draw, span(block * _STEPS, n, _STEPS))
            self._drawn[draw, n] = block, numbers
        return np.asarray(numbers[place])

    def _rows(self, memory: ReplayBuffer, slots: Tensor) -> Batch:
        columns = memory.table.get(slots)
        return Batch(self._body.read(columns["inputs"]), columns["targets"], columns.get("weights"))
