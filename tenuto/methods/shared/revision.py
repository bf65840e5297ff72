"""Revision: a basis gives way to a correction of something that it protects.

Where every input of a row lies in the span of M, the row's gradient is zero: what was learned cannot be
unlearned. A revision takes from M the directions of the row's gradient, but for what its neighbours need:

    M <- M N,    N a basis of the complement of span(M^T G^T without its part in span(M^T X)) in R^m

G (k, d) are combinations of the row's weight gradient, X the inputs of remembered rows that are not the row
itself. Their inputs stay in the span of M, so that their outputs cannot move.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tenuto import subspace
from tenuto.modes import evaluating
from tenuto.protocols import Objective
from tenuto.protocols.adapters import Adapter, Reads
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
    adapter: Adapter, objective: Objective, reads: Reads, batch: Batch, near: Batch | None
) -> Revision:
    """The bases without what bars the fresh rows of a batch.

    Args:
        reads: of a pass over the batch.
        near: remembered rows; those that are asked the same as a fresh row are its past, and not spared.
    """
    fresh = slice(0, batch.fresh)
    spared = {} if near is None else _spared(adapter, objective, batch.inputs[fresh], near.inputs)
    bases, shares = {}, {}
    for site, held in adapter.bases.items():
        wanted = reads.gradient(site, fresh)
        kept = spared.get(site, wanted[:0])
        bases[site] = subspace.released(held, wanted, kept, threshold=SHARE)
        shares[site] = 1 - bases[site].shape[1] / held.shape[1] if held.shape[1] else 0.0
    return Revision(bases, shares)


def present(module: nn.Module, inputs: Tensor) -> Tensor | None:
    """Which tokens (n, t) of rows are there, where the module reads rows of tokens; else None."""
    tokens = getattr(module, "tokens", None)
    return None if tokens is None else tokens(inputs)


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
