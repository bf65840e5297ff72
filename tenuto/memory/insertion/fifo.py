"""First in, first out: a sliding window over the newest rows, not a history."""

from __future__ import annotations

from collections import deque

from tenuto.errors import ConfigError
from tenuto.protocols import Incoming, Left
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
        self._order: deque[int] | None = None

    def slots(self, incoming: Incoming) -> list[int]:
        """The oldest slot for each row."""
        if self._order is not None:
            return [self._next(self._order) for _ in range(len(incoming.groups))]
        n, first = len(incoming.groups), incoming.first % self._capacity
        if first + n <= self._capacity:
            return list(range(first, first + n))
        return [number % self._capacity for number in range(first, first + n)]

    def _next(self, order: deque[int]) -> int:
        """The slot of a row after an eviction, when a row's number no longer tells it."""
        order.append(len(order) if len(order) < self._capacity else order.popleft())
        return order[-1]

    def evicted(self, left: Left) -> None:
        """Age lies in an order of its own from now on."""
        order = self._order
        if order is None:
            held = min(left.seen, self._capacity)
            order = deque((left.seen + i) % held for i in range(held))
        now = {old: new for new, old in enumerate(left.stay)}
        self._order = deque(now[old] for old in order if old in now)
        self._capacity = self._capacity if left.capacity is None else left.capacity

    def state(self) -> State:
        """Nothing but, after an eviction, the slots by age."""
        return {} if self._order is None else {"order": list(self._order)}

    def load_state(self, state: State) -> None:
        """Take the saved order."""
        self._order = deque(state["order"]) if "order" in state else None


def policy(capacity: int | None, seed: int) -> Fifo:
    """A sliding window."""
    if capacity is None:
        raise ConfigError("a sliding window needs a capacity")
    return Fifo(capacity)
