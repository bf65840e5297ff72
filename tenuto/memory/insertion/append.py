"""Keep every row: the memory of joint training, which declares itself unbounded."""

from __future__ import annotations

from tenuto.protocols import Incoming, Left
from tenuto.types import State


class Append:
    """Every row gets the next slot, until a capacity (if any) is full.

    >>> import torch
    >>> Append(None).slots(Incoming(0, torch.zeros(3)))
    [0, 1, 2]
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, capacity: int | None) -> None:
        self._capacity = capacity
        self._held: int | None = None

    def slots(self, incoming: Incoming) -> list[int]:
        """The row's own number, or the first free slot where rows are gone; -1 beyond the capacity."""
        first = incoming.first if self._held is None else self._held
        numbers = range(first, first + len(incoming.groups))
        if self._held is not None:
            top = first + len(numbers)
            self._held = top if self._capacity is None else min(top, max(first, self._capacity))
        return [n if self._capacity is None or n < self._capacity else -1 for n in numbers]

    def evicted(self, left: Left) -> None:
        """The next row takes the first free slot."""
        self._capacity, self._held = left.capacity, len(left.stay)

    def state(self) -> State:
        """Nothing but, after an eviction, how many rows are held."""
        return {} if self._held is None else {"held": self._held}

    def load_state(self, state: State) -> None:
        """Take the saved number."""
        self._held = int(state["held"]) if "held" in state else None


def policy(capacity: int | None, seed: int) -> Append:
    """Keep everything."""
    return Append(capacity)
