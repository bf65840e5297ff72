"""The loss of a batch as a sum of terms, at any parameters."""

from __future__ import annotations

from torch import Tensor
from torch.func import functional_call
from torch.nn import Module

from tenuto.errors import ConfigError
from tenuto.methods.shared.recipe import Recipe
from tenuto.protocols import Forward, Task
from tenuto.trees import Tree
from tenuto.types import Batch


class Composed:
    """A recipe's terms over one forward pass.

    At the live parameters the module itself is called: no copy, no functional call.
    """

    def __init__(self, recipe: Recipe, module: Module, live: Tree, task: Task) -> None:
        self._recipe = recipe
        self._module = module
        self._live = live
        self._task = task

    def __call__(self, params: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """The scalar loss and the outputs (n, c) of a joined batch."""
        if params is self._live:
            outputs = self._module(batch.inputs)
        else:
            outputs = functional_call(self._module, params, (batch.inputs,))
        teacher = self._recipe.teacher
        seen = teacher.outputs(self._module, batch.inputs) if teacher is not None else None
        forward = Forward(batch, outputs, self._task, seen)
        parts = [loss for term in self._recipe.terms if (loss := term(forward)) is not None]
        if not parts:
            raise ConfigError(f"method {self._recipe.name!r} has no term for a batch of {len(batch)} rows")
        return sum(parts[1:], parts[0]), outputs
