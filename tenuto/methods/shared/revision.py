"""Revision: a basis gives way to a correction of something that it protects.

Where every input that an answer sees lies in the span of M, its gradient is zero: what was learned cannot be
unlearned. A revision takes from M the directions of that gradient, but for what the row's neighbours need:

    M <- M N,    N a basis of the complement of span(M^T G^T without its part in span(M^T X)) in R^m

G (k, d) are combinations of the gradient of the whole weights, X the inputs of remembered rows that are asked
something else. These stay in the span of M, so that their outputs cannot move.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tenuto import subspace
from tenuto.methods.shared.site_inputs import present
from tenuto.modes import evaluating
from tenuto.protocols import Objective, Task
from tenuto.protocols.adapters import Adapter
from tenuto.trees import Tree
from tenuto.types import Batch

SHARE = 0.99
"""Of the gradient's energy in the span of a basis, and not needed by neighbours, that is released."""


@dataclass(frozen=True, slots=True)
class Revision:
    """Bases that gave way.

    Args:
        bases: the new ones, by site.
        released: the share of each basis' directions that was released.
    """

    bases: Tree
    released: dict[str, float]


def revised(
    adapter: Adapter, objective: Objective, params: Tree, rows: Batch, barred: Tensor, near: Batch | None
) -> Revision | None:
    """The bases without what bars answers; None where their neighbours need all of it.

    Args:
        rows: the fresh ones.
        barred: which of their answers (n, l) cannot be learned.
        near: remembered rows; those that are asked the same as a fresh row are its past, and not spared.
    """
    spared = {} if near is None else _spared(adapter, objective, rows.inputs, near.inputs)
    with torch.enable_grad(), adapter.reading() as reads:
        outputs = objective.outputs(params, rows.inputs)
        loss = (losses(objective.task, outputs, rows.targets) * barred).sum()
        torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    bases, shares = {}, {}
    for site, held in adapter.bases.items():
        if site not in reads.inputs:
            bases[site] = held
            continue
        wanted = reads.gradient(site, slice(None))
        bases[site] = subspace.released(held, wanted, spared.get(site, wanted[:0]), threshold=SHARE)
        shares[site] = 1 - bases[site].shape[1] / held.shape[1] if held.shape[1] else 0.0
    return Revision(bases, shares) if any(shares.values()) else None


def losses(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss (n, l) of each token of an answer, 0 where there is none; (n, 1) of rows without tokens."""
    if outputs.dim() == 2:
        return task.losses(outputs, targets)[:, None]
    wanted = targets[:, : outputs.shape[1]]
    chances = outputs.float().log_softmax(-1).gather(2, wanted.clamp(min=0)[:, :, None])[:, :, 0]
    return -chances * (wanted >= 0)


def _same(module: nn.Module, rows: Tensor, others: Tensor) -> Tensor:
    """Which rows are asked the same thing: (n, m) of n and m rows."""
    asks = getattr(module, "same", None)
    if asks is not None:
        found: Tensor = asks(rows, others)
        return found
    return (rows[:, None] == others[None]).flatten(2).all(2)


def _spared(adapter: Adapter, objective: Objective, rows: Tensor, near: Tensor) -> Tree:
    """What remembered rows give each site (k, d), but for those that are asked what the fresh rows are."""
    near = near[~_same(objective.module, rows, near).any(0)]
    if not len(near):
        return {}
    with evaluating(objective.module), torch.no_grad(), adapter.reading() as theirs:
        objective.module(near)
    kept = present(objective.module, near)
    return {site: theirs.rows(site, slice(None), kept) for site in theirs.inputs}
