"""The oracle: what update rules may ask of memory and of the objective. Asking changes nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto.counters import Counters
from tenuto.memory import ReplayBuffer
from tenuto.methods.shared.estimators import plain
from tenuto.models import Body
from tenuto.protocols import Objective
from tenuto.randomness import span, torch_draws, uniform
from tenuto.trees import Tree
from tenuto.types import Batch


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
            u = uniform(self._seed, draw, span(step, n)[0])
            return self._rows(memory, earlier[torch.from_numpy(u * len(earlier)).long()])
        recalled = None if memory is None else memory.sample(n, step, draw)
        if recalled is None:
            return None
        columns = recalled.columns
        return Batch(self._body.read(columns["inputs"]), columns["targets"], recalled.weights)

    def groups(self) -> dict[int, Batch]:
        """All remembered rows by group."""
        memory = self._memory
        return {} if memory is None else {g: self._rows(memory, s) for g, s in memory.members().items()}

    def _rows(self, memory: ReplayBuffer, slots: Tensor) -> Batch:
        columns = memory.table.get(slots)
        return Batch(self._body.read(columns["inputs"]), columns["targets"], columns.get("weights"))
