"""What a step's outputs say of its rows, without a forward pass of a guard's own.

The invariant: nothing here changes a tensor, and no random number is drawn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tenuto.types import Trace


def losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss (n,) of outputs (n, c): cross-entropy for labels (n,), half the squared error for numbers.

    >>> losses(torch.zeros(1, 2), torch.tensor([1]))
    tensor([0.6931])
    """
    if labelled(outputs, targets):
        return F.cross_entropy(outputs, targets, reduction="none")
    if outputs.dim() == 3:
        flat, wanted, present = _tokens(outputs, targets)
        each = F.cross_entropy(flat, wanted, reduction="none")
        return torch.zeros(present.shape).masked_scatter(present, each).sum(1) / present.sum(1)
    return (outputs - targets.view(outputs.shape)).square().flatten(1).sum(1) / 2


def residual(outputs: Tensor, targets: Tensor) -> float:
    """The root mean square of softmax(z) - y, or of z - y: the gradient where the outputs are.

    >>> round(residual(torch.zeros(1, 2), torch.tensor([1])), 4)
    0.7071
    """
    if outputs.dim() == 3:
        outputs, targets, _ = _tokens(outputs, targets)
    if not labelled(outputs, targets):
        gap = outputs - targets.view(outputs.shape)
    else:
        gap = outputs.softmax(1) - F.one_hot(targets, outputs.shape[1])
    return math.sqrt(gap.square().flatten(1).sum(1).mean().item())


def _tokens(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The answers' tokens one by one: outputs (m, v), tokens (m,), and where there is one (n, l)."""
    wanted = targets[:, : outputs.shape[1]]
    present = wanted >= 0
    return outputs[present], wanted[present], present


def labelled(outputs: Tensor, targets: Tensor) -> bool:
    """Are the targets labels?"""
    return targets.dtype == torch.int64 and targets.dim() == 1 and outputs.dim() == 2


def replayed_loss(trace: Trace) -> float | None:
    """The mean loss of the replayed rows, which novelty does not raise; None where there are none."""
    fresh, outputs = trace.batch.fresh, trace.estimate.outputs
    if len(trace.batch) == fresh:
        return None
    return losses(outputs[fresh:], trace.batch.targets[fresh:]).mean().item()


def chance(trace: Trace) -> float:
    """The cross-entropy of a uniform guess, ln c, or ln v of a token; under regression 0."""
    outputs = trace.estimate.outputs
    classes = outputs.dim() == 3 or labelled(outputs, trace.batch.targets)
    return math.log(outputs.shape[-1]) if classes else 0.0


def norm(trace: Trace) -> float:
    """The Euclidean norm of the proposed move."""
    norms = torch._foreach_norm(list(trace.update.tree.values()))
    return torch.stack(norms).norm().item() * abs(trace.update.scale) if norms else 0.0
