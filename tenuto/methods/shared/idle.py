"""Looking without learning: for methods that learn only when they consolidate."""

from __future__ import annotations

import torch

from tenuto import trees
from tenuto.methods.shared.estimators import plain
from tenuto.protocols import Objective, Oracle, View
from tenuto.trees import Tree
from tenuto.types import Batch, Estimate, State, Trace, Update


class Rehearsing:
    """Learns rows out of memory alone; a batch with a fresh row in it moves nothing.

    It is an estimator, which gives such a batch a gradient of zero, and a rule, for momentum and weight
    decay would move the parameters all the same.
    """

    def __init__(self) -> None:
        self._idle = False

    def estimate(self, objective: Objective, params: Tree, batch: Batch) -> Estimate:
        """Loss and outputs (n, c) of any batch; the gradient of a rehearsal."""
        self._idle = batch.fresh > 0
        if not self._idle:
            return plain(objective, params, batch)
        with torch.no_grad():
            loss, outputs = objective(params, batch)
        return Estimate(loss, outputs, trees.zeros(params))

    def project(self, update: Update, oracle: Oracle) -> Update:
        """The update of a rehearsal; otherwise none."""
        return Update(trees.zeros(update.tree)) if self._idle else update

    def observe(self, trace: Trace) -> None:
        """Nothing is kept from step to step."""

    def consolidate(self, view: View) -> None:
        """Nothing ends with a context."""

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""
