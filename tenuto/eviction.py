"""Rows that a guard takes out of a batch: the step is made anew with those that are left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tenuto.types import Batch, Ruling, Trace


def spared(step: Callable[[Batch], Trace], fresh: Batch) -> tuple[Batch, Trace, Sequence[int]]:
    """Make a step; while a guard evicts some of its rows, make it with the others instead.

    Args:
        step: makes a step of fresh rows; one that is refused changes nothing.

    Returns:
        The rows that are left, their step, and their numbers in the batch that was given.
    """
    left: Sequence[int] = range(fresh.inputs.shape[0])
    trace = step(fresh)
    while trace.verdict.ruling is Ruling.EVICT and 0 < len(trace.verdict.rows) < len(left):
        evicted = set(trace.verdict.rows)
        stay = [row for row in range(len(left)) if row not in evicted]
        fresh, left = taken(fresh, stay), [left[row] for row in stay]
        trace = step(fresh)
    return fresh, trace, left


def taken(batch: Batch, rows: list[int]) -> Batch:
    """Some rows of a batch of fresh ones.

    >>> import torch
    >>> taken(Batch(torch.eye(3), torch.tensor([4, 5, 6]), principals=["ann", "bob", None]), [0, 2]).targets
    tensor([4, 6])
    """
    weights, senders = batch.weights, batch.principals
    return Batch(
        batch.inputs[rows],
        batch.targets[rows],
        None if weights is None else weights[rows],
        principals=None if senders is None else [senders[row] for row in rows],
    )


def spread(slots: list[int], left: Sequence[int], rows: int) -> list[int]:
    """The slot of each row that was given: -1 for those that were taken out.

    >>> spread([7, 3], [0, 2], 3)
    [7, -1, 3]
    """
    found = dict(zip(left, slots, strict=True))
    return [found.get(row, -1) for row in range(rows)]
