"""What may be tried out on a model within a step, and leaves it as it was.

A look ahead moves parameters, or asks at others. Layers with running statistics (BatchNorm, inputs
that are standardised) use those of the step then, and do not move them: a single row may pass alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Module

from tenuto import trees
from tenuto.protocols import Objective
from tenuto.trees import Tree
from tenuto.types import Batch


@contextmanager
def excursion(module: Module, params: Tree) -> Iterator[None]:
    """Live parameters may move in place inside; they and all buffers are put back bit for bit.

    >>> layer = torch.nn.Linear(1, 1); params = dict(layer.named_parameters()); before = layer.bias.item()
    >>> with excursion(layer, params), torch.no_grad():
    ...     _ = layer.bias.add_(1)
    >>> layer.bias.item() == before
    True
    """
    home = [*trees.leaves(params), *module.buffers()]
    saved = [tensor.detach().clone() for tensor in home]
    settled = [part for part in module.modules() if part.training and any(True for _ in part.buffers(False))]
    for part in settled:
        part.training = False
    try:
        yield
    finally:
        for part in settled:
            part.training = True
        with torch.no_grad():
            for tensor, value in zip(home, saved, strict=True):
                tensor.copy_(value)


def glance(objective: Objective, params: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
    """The loss and the outputs (n, c) of the joined batch before the update; running statistics move."""
    with torch.no_grad():
        return objective(params, batch)


def gradient(objective: Objective, params: Tree, batch: Batch, *, graph: bool = False) -> Tree:
    """The gradient of the objective at these parameters, zero where the loss does not reach.

    Args:
        graph: may it be differentiated again?
    """
    loss, _ = objective(params, batch)
    found = torch.autograd.grad(loss, trees.leaves(params), create_graph=graph, materialize_grads=True)
    return trees.like(params, found)


def per_rate(way: Tree, rate: float) -> Tree:
    """The gradient by which one step of this rate goes the way; zero under a rate of zero.

    >>> per_rate({"w": torch.ones(2)}, 0.5)["w"]
    tensor([2., 2.])
    """
    return trees.scale(way, 1 / rate if rate else 0.0)


def clipped(tree: Tree, longest: float) -> Tree:
    """The tree, shortened to a norm of `longest` where it is longer.

    >>> clipped({"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}, 1.0)
    {'a': tensor([0.6000]), 'b': tensor([0.8000])}
    """
    norm = torch.stack(torch._foreach_norm(trees.leaves(tree))).norm()
    return trees.like(tree, torch._foreach_mul(trees.leaves(tree), (longest / norm).clamp(max=1.0)))
