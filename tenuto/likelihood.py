"""Log-probabilities of a few columns of wide logits, in float32 whatever the logits are held in.

    log p_k = z_k - log sum_j exp z_j,    d log p_k / d z_j = [j = k] - p_j

A vocabulary is wide and of each token's answer a few columns are asked, so that nothing as wide as the logits
is made but their gradient: rows are read some at a time, backward reads them again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TOGETHER = 8
"""Rows read at once: what is made of them stays within a core's cache."""


def log_likelihood(logits: Tensor, columns: Tensor, present: Tensor | None = None) -> Tensor:
    """Log-probabilities (..., k) in nats, float32, of columns (..., k) of logits (..., v).

    Args:
        present: (...) which rows are asked; the others' are 0, and nothing is learned from them.

    >>> log_likelihood(torch.zeros(2, 4), torch.tensor([[0, 1], [2, 3]]), torch.tensor([True, False]))
    tensor([[-1.3863, -1.3863],
            [ 0.0000,  0.0000]])
    """
    flat, chosen = logits.flatten(0, -2), columns.flatten(0, -2)
    rows = None if present is None or bool(present.all()) else present.flatten().nonzero()[:, 0]
    apply: Any = _LogLikelihood.apply
    found: Tensor = apply(flat, chosen, rows)
    return found.view(columns.shape)


class _LogLikelihood(torch.autograd.Function):
    """Of rows (n, v), those whose numbers are given, or all."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, columns: Tensor, rows: Tensor | None) -> Tensor:
        found = torch.zeros(columns.shape, device=logits.device)
        totals = []
        for part in _parts(rows, logits):
            read = logits[part].float()
            totals.append(read.logsumexp(-1, keepdim=True))
            found[part] = read.gather(1, columns[part]) - totals[-1]
        ctx.save_for_backward(logits, columns, rows, *totals)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, None, None]:
        logits, columns, rows, *totals = ctx.saved_tensors
        onto = torch.empty_like(logits)
        if rows is not None:
            absent = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
            onto[absent.index_fill_(0, rows, False)] = 0.0
        for part, total in zip(_parts(rows, logits), totals, strict=True):
            move = logits[part].float().sub(total).exp_()
            move *= -grads[part].sum(1, keepdim=True)
            onto[part] = move.scatter_add_(1, columns[part], grads[part]).to(onto.dtype)
        return onto, None, None


def _parts(rows: Tensor | None, logits: Tensor) -> list[Any]:
    """What names some rows at a time."""
    if rows is not None:
        return list(torch.split(rows, TOGETHER))
    return [slice(start, start + TOGETHER) for start in range(0, len(logits), TOGETHER)]
