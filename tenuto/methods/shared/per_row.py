"""Gradients of single rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tenuto.protocols import Objective
from tenuto.trees import Tree, leaves
from tenuto.types import Batch


def gradients(objective: Objective, params: Tree, batch: Batch) -> Tensor:
    """The gradient (n, parameters) of each row's loss, flat, one backward per row."""
    with torch.enable_grad():
        losses = objective.task.losses(objective.outputs(params, batch.inputs), batch.targets)
        found = [
            torch.autograd.grad(loss, leaves(params), retain_graph=True, materialize_grads=True)
            for loss in losses
        ]
    return torch.stack([torch.cat([leaf.flatten() for leaf in row]) for row in found])


def cosines(objective: Objective, params: Tree, mine: Batch, others: Batch) -> Tensor:
    """The cosine (n, k) between the gradient of each of my n rows and of each of k others."""
    a = F.normalize(gradients(objective, params, mine))
    return a @ F.normalize(gradients(objective, params, others)).T
