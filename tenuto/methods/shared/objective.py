"""The loss of a batch as a sum of terms, at any parameters."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch.func import functional_call
from torch.nn import Module

from tenuto.errors import ConfigError
from tenuto.methods.shared.recipe import Recipe
from tenuto.protocols import Forward, Optimizer, Task
from tenuto.protocols.adapters import Adapter
from tenuto.trees import Tree
from tenuto.types import Batch


class Trained(Protocol):
    """A module in training: its trainable parameters by name, its output layer's name, its adapter."""

    module: Module
    params: Tree
    adapter: Adapter | None

    @property
    def output(self) -> str | None:
        """The name of the Linear layer that answers; None where there is none."""


class Composed:
    """A recipe's terms over one forward pass.

    At the live parameters the module itself is called: no copy, no functional call.
    """

    def __init__(self, recipe: Recipe, body: Trained, task: Task, optimizer: Optimizer, seed: int) -> None:
        self.task = task
        self.module = body.module
        self.head = body.output
        self.adapter = body.adapter
        self.seed = seed
        self._recipe = recipe
        self._live = body.params
        self._optimizer = optimizer

    @property
    def learning_rate(self) -> float:
        """The optimizer's."""
        return self._optimizer.learning_rate

    def outputs(self, params: Tree, inputs: Tensor) -> Tensor:
        """Outputs (n, c) for rows (n, *shape), in training mode."""
        outputs: Tensor = (
            self.module(inputs) if params is self._live else functional_call(self.module, params, (inputs,))
        )
        return outputs

    def loss(self, batch: Batch, outputs: Tensor) -> Tensor:
        """The scalar loss of a joined batch that was answered with outputs (n, c)."""
        teacher = self._recipe.teacher
        seen = teacher.outputs(self.module, batch.inputs) if teacher is not None else None
        forward = Forward(batch, outputs, self.task, seen)
        parts = [loss for term in self._recipe.terms if (loss := term(forward)) is not None]
        if not parts:
            raise ConfigError(f"method {self._recipe.name!r} has no term for a batch of {len(batch)} rows")
        return sum(parts[1:], parts[0])

    def __call__(self, params: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """The scalar loss and the outputs (n, c) of a joined batch."""
        outputs = self.outputs(params, batch.inputs)
        return self.loss(batch, outputs), outputs
