"""Keep every row: the memory of joint training, which declares itself unbounded."""

from __future__ import annotations

from tenuto.protocols import Incoming
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

    def slots(self, incoming: Incoming) -> list[int]:
        """The row's own number, or -1 beyond the capacity."""
        numbers = range(incoming.first, incoming.first + len(incoming.groups))
        return [n if self._capacity is None or n < self._capacity else -1 for n in numbers]

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


def policy(capacity: int | None, seed: int) -> Append:
    """Keep everything."""
    return Append(capacity)
