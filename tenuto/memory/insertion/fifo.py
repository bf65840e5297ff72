"""First in, first out: a sliding window over the newest rows, not a history."""

from __future__ import annotations

from tenuto.errors import ConfigError
from tenuto.protocols import Incoming
from tenuto.types import State


class Fifo:
    """The newest `capacity` rows.

    >>> import torch
    >>> Fifo(2).slots(Incoming(0, torch.zeros(3)))
    [0, 1, 0]
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity

    def slots(self, incoming: Incoming) -> list[int]:
        """The oldest slot for each row."""
        n, first = len(incoming.groups), incoming.first % self._capacity
        if first + n <= self._capacity:
            return list(range(first, first + n))
        return [number % self._capacity for number in range(first, first + n)]

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


def policy(capacity: int | None, seed: int) -> Fifo:
    """A sliding window."""
    if capacity is None:
        raise ConfigError("a sliding window needs a capacity")
    return Fifo(capacity)
