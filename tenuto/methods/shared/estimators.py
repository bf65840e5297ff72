"""How a gradient is found."""

from __future__ import annotations

import torch

from tenuto import trees
from tenuto.protocols import Objective
from tenuto.trees import Tree
from tenuto.types import Batch, Estimate


def plain(objective: Objective, params: Tree, batch: Batch) -> Estimate:
    """One forward over the joined batch, one backward.

    A parameter that the loss does not reach gets a zero gradient.
    """
    loss, outputs = objective(params, batch)
    leaves = trees.leaves(params)
    grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    if any(grad is None for grad in grads):
        grads = tuple(torch.zeros_like(p) if g is None else g for p, g in zip(leaves, grads, strict=True))
    return Estimate(loss.detach(), outputs.detach(), trees.like(params, grads))
