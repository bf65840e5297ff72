"""How a gradient is found."""

from __future__ import annotations

import torch

from tenuto.protocols import Objective
from tenuto.trees import Tree
from tenuto.types import Batch, Estimate


def plain(objective: Objective, params: Tree, batch: Batch) -> Estimate:
    """One forward over the joined batch, one backward; the parameters' `.grad` is left empty.

    A parameter that the loss does not reach gets a zero gradient.
    """
    loss, outputs = objective(params, batch)
    _clear(params)
    torch.autograd.backward(loss)
    grads = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in params.items()}
    _clear(params)
    return Estimate(loss.detach(), outputs.detach(), grads)


def _clear(params: Tree) -> None:
    for parameter in params.values():
        parameter.grad = None
