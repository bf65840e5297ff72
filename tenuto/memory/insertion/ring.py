"""A ring per class (ER-ring, Chaudhry et al. 2019): equal shares, the newest rows of each class.

While there is room every row is kept. Then a row takes the oldest slot of its own class if that
class has its share, and the oldest slot of the largest class otherwise.
"""

from __future__ import annotations

from collections import deque

from tenuto.errors import ConfigError
from tenuto.protocols import Incoming, Left
from tenuto.types import State


class Ring:
    """Equal rings.

    >>> import torch
    >>> Ring(2).slots(Incoming(0, torch.tensor([0, 0, 0, 1])))
    [0, 1, 0, 1]
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._rings: dict[int, deque[int]] = {}
        self._count = 0

    def slots(self, incoming: Incoming) -> list[int]:
        """A slot for each row: every row is kept for a while."""
        return [self._place(group) for group in incoming.groups.tolist()]

    def _place(self, group: int) -> int:
        ring = self._rings.setdefault(group, deque())
        if self._count < self._capacity:
            slot = self._count
            self._count += 1
        elif len(ring) >= self._capacity // len(self._rings) and ring:
            slot = ring.popleft()
        else:
            slot = max(self._rings.values(), key=len).popleft()
        ring.append(slot)
        return slot

    def evicted(self, left: Left) -> None:
        """The others keep their order; a class without a row is one that never came."""
        now = {old: new for new, old in enumerate(left.stay)}
        rings = {g: deque(now[old] for old in ring if old in now) for g, ring in self._rings.items()}
        self._rings = {g: ring for g, ring in rings.items() if ring}
        self._count = len(left.stay)
        self._capacity = self._capacity if left.capacity is None else left.capacity

    def state(self) -> State:
        """The slots of each class, oldest first."""
        return {"rings": [[group, list(ring)] for group, ring in self._rings.items()]}

    def load_state(self, state: State) -> None:
        """Take saved rings."""
        self._rings = {group: deque(slots) for group, slots in state["rings"]}
        self._count = sum(map(len, self._rings.values()))


def policy(capacity: int | None, seed: int) -> Ring:
    """A ring per class."""
    if capacity is None:
        raise ConfigError("rings need a capacity")
    return Ring(capacity)
