"""Rows that a guard takes out: of a batch, where the step is made anew with those that are left; and once a
sender is convicted, of memory, where the rows that were learned from them are found by the name kept beside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from tenuto.context import Context
from tenuto.guards import Chain
from tenuto.memory import ReplayBuffer
from tenuto.memory.beside import Named
from tenuto.protocols import Guard
from tenuto.types import Batch, Ruling, Trace


@runtime_checkable
class Convicting(Protocol):
    """A guard that may convict senders: their rows are refused from then on, and leave memory."""

    @property
    def convicted(self) -> list[str]:
        """Those that it has."""


def named(
    memory: ReplayBuffer | None, guard: Guard, fresh: Batch, domains: Sequence[str | None] | None
) -> Named | None:
    """The names of fresh rows that memory is to keep beside them, because something will ask."""
    found, needs = {}, frozenset[str]() if memory is None else memory.needs
    if fresh.principals is not None and ("principals" in needs or _convicts(guard)):
        found["principal"] = fresh.principals
    if domains is not None and "domains" in needs:
        found["domain"] = domains
    return found or None


def _convicts(guard: Guard) -> bool:
    parts = guard.guards.values() if isinstance(guard, Chain) else (guard,)
    return any(isinstance(part, Convicting) for part in parts)


def expelled(
    memory: ReplayBuffer | None, context: Context, guilty: Sequence[str], slots: list[int] | None
) -> tuple[list[int] | None, int]:
    """Take what convicted senders sent out of memory, and out of the context's sample.

    Returns:
        Where the rows of these slots lie then, -1 for those that left, and how many left memory.
    """
    if guilty:
        context.expel(guilty)
    if memory is None or not guilty:
        return slots, 0
    held, stay = len(memory), memory.expel(guilty)
    now = {old: new for new, old in enumerate(stay)}
    return slots and [now.get(slot, -1) for slot in slots], held - len(stay)


def told(trace: Trace, memory: ReplayBuffer | None, evicted: int) -> Trace:
    """The step, with how rows moved in memory."""
    whence = None if memory is None else memory.moves.told()
    if whence is None:
        return trace
    for slot in trace.slots or ():
        if slot >= 0:
            whence[slot] = -1
    return msgspec.structs.replace(trace, whence=whence, evicted=evicted)


def spared(
    step: Callable[[Batch], Trace], fresh: Batch
) -> tuple[Batch, Trace, Sequence[int], tuple[str, ...]]:
    """Make a step; while a guard evicts some of its rows, make it with the others instead.

    Args:
        step: makes a step of fresh rows; one that is refused changes nothing.

    Returns:
        The rows that are left, their step (with the reason why others were evicted), their numbers in the
        batch that was given, and who was convicted.
    """
    rows = fresh.inputs.shape[0]
    left: Sequence[int] = range(rows)
    trace = step(fresh)
    guilty, why = trace.verdict.principals, trace.verdict.reason
    while trace.verdict.ruling is Ruling.EVICT and 0 < len(trace.verdict.rows) < len(left):
        evicted = set(trace.verdict.rows)
        stay = [row for row in range(len(left)) if row not in evicted]
        fresh, left = taken(fresh, stay), [left[row] for row in stay]
        trace = step(fresh)
        guilty += trace.verdict.principals
    if len(left) < rows and trace.verdict.keeps:
        verdict = msgspec.structs.replace(trace.verdict, reason=why)
        trace = msgspec.structs.replace(trace, verdict=verdict)
    return fresh, trace, left, guilty


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
    if len(left) == rows:
        return slots
    found = dict(zip(left, slots, strict=True))
    return [found.get(row, -1) for row in range(rows)]
