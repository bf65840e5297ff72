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
    found = torch.autograd.grad(loss, trees.leaves(params), allow_unused=True)
    pairs = zip(params.items(), found, strict=True)
    grads = {name: torch.zeros_like(p) if grad is None else grad for (name, p), grad in pairs}
    return Estimate(loss.detach(), outputs.detach(), grads)
