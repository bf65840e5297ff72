"""Reservoir sampling (Vitter 1985, Algorithm R): every row seen is equally likely to be held.

Row n (from 0) draws j uniform in [0, n]; below capacity it is appended, else it takes slot j if
j < capacity. The draw is keyed by n, so batches of any size fill the same reservoir.

Room that an eviction made is filled by the rows that come next; then it goes on as before.
"""

from __future__ import annotations

import numpy as np

from tenuto.errors import ConfigError
from tenuto.protocols import Incoming, Left
from tenuto.randomness import uniform
from tenuto.types import State

_ROWS = 1024


class Reservoir:
    """Algorithm R over whole batches.

    >>> import torch
    >>> Reservoir(2, seed=0).slots(Incoming(0, torch.zeros(4)))
    [0, 1, -1, -1]
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, capacity: int, seed: int) -> None:
        self._capacity = capacity
        self._seed = seed
        self._block: tuple[int, list[int]] = (-1, [])
        self._held: int | None = None
        self._spare: list[int] = []

    def slots(self, incoming: Incoming) -> list[int]:
        """A slot for each row, or -1."""
        block, start = divmod(incoming.first, _ROWS)
        n = incoming.groups.shape[0]
        slots = self._drawn(block)[start : start + n]
        while len(slots) < n:
            block += 1
            slots += self._drawn(block)[: n - len(slots)]
        if self._held is not None:
            slots = [self._refilled(slot) for slot in slots]
        if self._spare:
            return [self._spare.pop() if slot >= 0 and self._spare else slot for slot in slots]
        return slots

    def spare(self, slots: list[int]) -> None:
        """Rows that are kept take these slots, the last one first, before any other; the memory is full.

        >>> import torch
        >>> reservoir = Reservoir(2, seed=0)
        >>> reservoir.spare([1])
        >>> reservoir.slots(Incoming(4, torch.zeros(9)))
        [1, -1, -1, 0, -1, -1, -1, -1, -1]
        """
        self._spare = list(slots)

    def _refilled(self, drawn: int) -> int:
        """The slot of a row after an eviction: the first free one, else what was drawn."""
        if self._held is None or self._held >= self._capacity:
            return drawn if drawn < self._capacity else -1
        self._held += 1
        return self._held - 1

    def evicted(self, left: Left) -> None:
        """There is room, and memory is no longer full."""
        self._spare = []
        self._held, self._block = len(left.stay), (-1, [])
        self._capacity = self._capacity if left.capacity is None else left.capacity

    def _drawn(self, block: int) -> list[int]:
        """The slots of a whole block of row numbers: a pure function, kept until the next block."""
        if self._block[0] != block:
            numbers = np.arange(block * _ROWS, (block + 1) * _ROWS)
            drawn = (uniform(self._seed, "reservoir", numbers.astype(np.uint64)) * (numbers + 1)).astype(
                np.int64
            )
            drawn = np.where(drawn < self._capacity, drawn, -1)
            self._block = (block, np.where(numbers < self._capacity, numbers, drawn).tolist())
        return self._block[1]

    def state(self) -> State:
        """The draws are keyed by row numbers; the slots to be given up first, and after an eviction how many
        rows are held."""
        held: State = {} if self._held is None else {"held": self._held}
        return {**held, "spare": list(self._spare)} if self._spare else held

    def load_state(self, state: State) -> None:
        """Take what was saved."""
        self._spare = list(state.get("spare", ()))
        self._held = int(state["held"]) if "held" in state else None


def policy(capacity: int | None, seed: int) -> Reservoir:
    """Reservoir sampling."""
    if capacity is None:
        raise ConfigError("a reservoir needs a capacity; an unbounded memory inserts by 'append'")
    return Reservoir(capacity, seed)
