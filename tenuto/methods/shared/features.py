"""Features: what the output layer reads, h in outputs = W h + b, and heads written in closed form.

A head written as a part of the update lands on its target under any optimizer: momentum, moments and
weight decay have had their say when a rule sees the update.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

from tenuto import trees
from tenuto.errors import ConfigError
from tenuto.modes import evaluating
from tenuto.protocols import Objective, Oracle, View
from tenuto.trees import Tree
from tenuto.types import State, Trace, Update


def weight_of(objective: Objective, params: Tree) -> str:
    """The name of the head's weight; that of its bias ends in "bias".

    Raises:
        ConfigError: the model has no Linear output layer of its own that is trained.
    """
    name = f"{objective.head}.weight".lstrip(".")
    if objective.head is None or name not in params:
        raise ConfigError(
            "this method writes the output layer itself: the model needs a Linear one, with requires_grad "
            "and a weight that no other layer shares; name it with head_layer="
        )
    return name


def bias_of(weight: str) -> str:
    """The name of the bias beside a weight.

    >>> bias_of("head.weight"), bias_of("weight")
    ('head.bias', 'bias')
    """
    return weight.removesuffix("weight") + "bias"


def features(objective: Objective, params: Tree, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Features (n, d) and outputs (n, c) for rows (n, *shape), in the module's present mode."""
    seen: list[Tensor] = []

    def note(layer: Module, arguments: tuple[Tensor, ...]) -> None:
        seen.append(arguments[0])

    handle = objective.module.get_submodule(objective.head or "").register_forward_pre_hook(note)
    try:
        outputs = objective.outputs(params, inputs)
    finally:
        handle.remove()
    if len(seen) != 1 or seen[0].dim() != 2:
        raise ConfigError(
            f"the output layer {objective.head!r} must read one vector per row, once per forward pass; it "
            f"read {[tuple(one.shape) for one in seen]}"
        )
    return seen[0], outputs


def settled(objective: Objective, params: Tree, inputs: Tensor) -> Tensor:
    """Features (n, d) as predictions see them: in evaluation mode, without a graph."""
    with evaluating(objective.module), torch.no_grad():
        return features(objective, params, inputs)[0]


class Written:
    """A rule that writes the leaves its source aims at into the update, and leaves the others.

    Args:
        source: gives the moves of the step under way, by parameter name.
        rest: does the optimizer's move of the other parameters stay?
    """

    def __init__(self, source: Source, *, rest: bool) -> None:
        self._source = source
        self._rest = rest

    def project(self, update: Update, oracle: Oracle) -> Update:
        """The update with the written leaves."""
        if self._source.moves is None:
            return update
        tree = trees.scale(update.tree, update.scale) if self._rest else trees.zeros(update.tree)
        return Update({**tree, **self._source.moves})

    def observe(self, trace: Trace) -> None:
        """The source notes the step itself."""

    def consolidate(self, view: View) -> None:
        """Nothing ends with a context."""

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


class Source:
    """What aims at a head: the moves of the step under way; None where it leaves the head alone."""

    moves: Tree | None = None

    def aim(self, params: Tree, targets: Tree) -> None:
        """Aim at these values of these parameters."""
        self.moves = {
            name: target.to(params[name]) - params[name].detach() for name, target in targets.items()
        }


def below(weight: Tensor, bias: Tensor, seen: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """A linear head (c, d), (c,) whose classes not seen yet stand `margin` below the mean of the seen.

    No mean exceeds the greatest, so a class that was never seen is never answered.

    >>> seen = torch.tensor([True, True, False])
    >>> w, b = below(torch.tensor([[2.0], [4.0], [9.0]]), torch.zeros(3), seen, 1.0)
    >>> w.flatten().tolist(), b.tolist()
    ([2.0, 4.0, 3.0], [0.0, 0.0, -1.0])
    """
    rows, shifts = weight[seen].mean(0), bias[seen].mean() - margin
    return torch.where(seen[:, None], weight, rows), torch.where(seen, bias, shifts)
