"""Parts of a joined batch: the fresh rows alone, chosen rows of a draw, one row at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tenuto.types import Batch, Draw


def part(batch: Batch, rows: slice | Tensor) -> Batch:
    """Some rows with their weights, without a word on which draw they came from.

    >>> part(Batch(torch.arange(4.0), torch.arange(4)), slice(1, 3)).targets
    tensor([1, 2])
    """
    weights = None if batch.weights is None else batch.weights[rows]
    return Batch(batch.inputs[rows], batch.targets[rows], weights)


def fresh(batch: Batch) -> Batch:
    """The fresh rows alone.

    >>> draws = {"replay": Draw(slice(1, 3), torch.tensor([0, 1]), {})}
    >>> len(fresh(Batch(torch.zeros(3), torch.zeros(3), None, None, draws)))
    1
    """
    return part(batch, slice(0, batch.fresh)) if batch.draws else batch


def rows(batch: Batch, order: list[int], size: int = 1) -> Iterator[Batch]:
    """`size` rows at a time, in the order of their numbers.

    >>> [row.targets.tolist() for row in rows(Batch(torch.zeros(3), torch.arange(3)), [2, 0, 1], 2)]
    [[2, 0], [1]]
    """
    for start in range(0, len(order), size):
        few = order[start : start + size]
        yield part(batch, slice(few[0], few[0] + 1) if size == 1 else torch.tensor(few))


def chosen(batch: Batch, name: str, source: str, picks: Tensor) -> Batch:
    """The fresh rows, and behind them the rows `picks` (k,) of the draw `source` as the draw `name`.

    >>> draws = {"many": Draw(slice(1, 4), torch.tensor([7, 8, 9]), {})}
    >>> joined = Batch(torch.zeros(4), torch.arange(4), None, None, draws)
    >>> batch = chosen(joined, "few", "many", torch.tensor([2]))
    >>> batch.targets, batch.draws["few"].slots, batch.fresh
    (tensor([0, 3]), tensor([9]), 1)
    """
    n, draw = batch.fresh, batch.draws[source]
    some = part(batch, torch.cat([torch.arange(n), picks + draw.rows.start]))
    kept = {column: values[picks] for column, values in draw.kept.items()}
    draws = {name: Draw(slice(n, n + len(picks)), draw.slots[picks], kept)}
    return Batch(some.inputs, some.targets, some.weights, None, draws)
