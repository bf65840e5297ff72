"""What rows give each site, read in turns: as many sites at once as their inputs may take memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn

from tenuto.methods.shared.unheld import units
from tenuto.modes import evaluating
from tenuto.protocols import Objective
from tenuto.protocols.adapters import Adapter
from tenuto.trees import Tree
from tenuto.types import Batch

HELD = 2**30
"""Bytes of inputs that are held at once, where a single site has no more."""
TOGETHER = 8
"""Rows that are read at once."""


def inputs(adapter: Adapter, objective: Objective, batch: Batch) -> Iterator[tuple[str, Tensor]]:
    """Each site with what every token of these rows gives it, unit-normalised (k, d), in evaluation mode.

    The rows are read again for each turn of sites, so nothing may learn meanwhile.
    """
    kept = present(objective.module, batch.inputs)
    count = len(batch.inputs) if kept is None else int(kept.sum())
    for turn in turns({site: 4 * count * len(basis) for site, basis in adapter.bases.items()}, HELD):
        yield from _read(adapter, objective, batch, turn).items()


def present(module: nn.Module, inputs: Tensor) -> Tensor | None:
    """Which tokens (n, t) of rows are there, where the module reads rows of tokens; else None."""
    tokens = getattr(module, "tokens", None)
    return None if tokens is None else tokens(inputs)


def turns(sizes: dict[str, int], most: int) -> Iterator[list[str]]:
    """Names in turns whose sizes have no larger sum than this, or that are of one name.

    >>> list(turns({"q": 3, "v": 3, "up": 9, "down": 2}, 6))
    [['q', 'v'], ['up'], ['down']]
    """
    turn: list[str] = []
    for name, size in sizes.items():
        if turn and sum(sizes[one] for one in turn) + size > most:
            yield turn
            turn = []
        turn.append(name)
    if turn:
        yield turn


def _read(adapter: Adapter, objective: Objective, batch: Batch, sites: Collection[str]) -> Tree:
    found: dict[str, list[Tensor]] = {}
    with evaluating(objective.module), torch.no_grad():
        for some in torch.split(batch.inputs, TOGETHER):
            with adapter.reading(sites) as reads:
                objective.module(some)
            kept = present(objective.module, some)
            for site in reads.inputs:
                found.setdefault(site, []).append(units(reads.rows(site, slice(None), kept)))
    return {site: torch.cat(rows) for site, rows in found.items()}
