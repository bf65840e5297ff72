"""How a gradient is found."""

from __future__ import annotations

import torch

from tenuto.methods.shared.parted import clear, parted, taken
from tenuto.methods.shared.scaling import scaled
from tenuto.protocols import Objective
from tenuto.trees import Tree
from tenuto.types import Batch, Estimate


def plain(objective: Objective, params: Tree, batch: Batch) -> Estimate:
    """One forward over the joined batch, one backward; the parameters' `.grad` is left empty.

    A parameter that the loss does not reach gets a zero gradient. Where there is no room for the whole batch,
    its rows are read in parts, to the same gradient but for rounding.

    Raises:
        OutOfMemory: there is none for a single row.
    """
    return scaled(objective.module, lambda by: _estimate(objective, params, batch, by))


def _estimate(objective: Objective, params: Tree, batch: Batch, by: float) -> Estimate:
    try:
        return _whole(objective, params, batch, by)
    except torch.OutOfMemoryError:
        clear(params)
    return parted(objective, params, batch, by)


def _whole(objective: Objective, params: Tree, batch: Batch, by: float) -> Estimate:
    loss, outputs = objective(params, batch)
    clear(params)
    torch.autograd.backward(loss if by == 1.0 else loss * by)
    return Estimate(loss.detach(), outputs.detach(), taken(params))
