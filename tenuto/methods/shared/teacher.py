"""The model as it was at the last consolidation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import Module

from tenuto import trees
from tenuto.methods.shared.parted import answered
from tenuto.modes import evaluating
from tenuto.protocols import View
from tenuto.trees import Tree
from tenuto.types import State, Trace


class Predecessor:
    """A frozen copy of the parameters and buffers, taken at each consolidation."""

    def __init__(self) -> None:
        self._weights: Tree = {}

    def outputs(self, module: Module, inputs: Tensor) -> Tensor | None:
        """The predecessor's outputs (n, c') in evaluation mode; None before the first consolidation."""
        if not self._weights:
            return None

        def answer(rows: Tensor) -> Tensor:
            found: Tensor = functional_call(module, self._weights, (rows,), tie_weights=False)
            return found

        with evaluating(module), torch.no_grad():
            return answered(answer, inputs)

    def observe(self, trace: Trace) -> None:
        """A teacher does not move between consolidations."""

    def consolidate(self, view: View) -> None:
        """Become the teacher of what comes next."""
        fixed: frozenset[str] = getattr(view.module, "frozen", frozenset())
        weights = view.module.state_dict()
        self._weights = trees.copy({name: one for name, one in weights.items() if name not in fixed})

    def state(self) -> State:
        """The frozen weights."""
        return {"weights": dict(self._weights)}

    def load_state(self, state: State) -> None:
        """Take saved weights."""
        self._weights = trees.copy(state["weights"])
