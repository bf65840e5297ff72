"""Class-balancing reservoir sampling (CBRS, Chrysakis & Moens 2020).

While there is room every row is kept. Then a row of a class that was never the largest replaces
a random row of the largest class; a row of a class that was, plays a reservoir within its class.
"""

from __future__ import annotations

import numpy as np

from tenuto.errors import ConfigError
from tenuto.protocols import Incoming, Left
from tenuto.randomness import uniform
from tenuto.types import State


class ClassBalanced:
    """CBRS.

    >>> import torch
    >>> policy = ClassBalanced(2, seed=0)
    >>> policy.slots(Incoming(0, torch.tensor([0, 0, 1])))
    [0, 1, 1]
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, capacity: int, seed: int) -> None:
        self._capacity = capacity
        self._seed = seed
        self._held: dict[int, list[int]] = {}
        self._seen: dict[int, int] = {}
        self._full: set[int] = set()
        self._count = 0

    def slots(self, incoming: Incoming) -> list[int]:
        """A slot for each row, or -1."""
        groups = incoming.groups.tolist()
        numbers = np.arange(incoming.first, incoming.first + len(groups), dtype=np.uint64)
        draws = uniform(self._seed, "class_balanced", numbers).tolist()
        return [self._place(group, draw) for group, draw in zip(groups, draws, strict=True)]

    def _place(self, group: int, draw: float) -> int:
        held = self._held.setdefault(group, [])
        self._seen[group] = seen = self._seen.get(group, 0) + 1
        if self._count < self._capacity:
            held.append(self._count)
            self._count += 1
            return held[-1]
        most = max(map(len, self._held.values()))
        self._full.update(g for g, slots in self._held.items() if len(slots) == most)
        if group not in self._full:
            largest = next(g for g, slots in self._held.items() if len(slots) == most)
            donor = self._held[largest]
            pick = int(draw * most)
            slot, donor[pick] = donor[pick], donor[-1]
            donor.pop()
            held.append(slot)
            if not donor:
                self._forget(largest)
            return slot
        pick = int(draw * seen)
        return held[pick] if pick < len(held) else -1

    def _forget(self, group: int) -> None:
        """A class whose last row went starts anew if it returns: there may be classes without end."""
        del self._held[group], self._seen[group]
        self._full.discard(group)

    def evicted(self, left: Left) -> None:
        """The others keep their classes."""
        now = {old: new for new, old in enumerate(left.stay)}
        self._held = {g: [now[old] for old in held if old in now] for g, held in self._held.items()}
        for group in [g for g, held in self._held.items() if not held]:
            self._forget(group)
        self._count = len(left.stay)
        self._capacity = self._capacity if left.capacity is None else left.capacity

    def state(self) -> State:
        """The slots and counts of each class."""
        return {
            "classes": [[g, self._seen[g], g in self._full, list(held)] for g, held in self._held.items()]
        }

    def load_state(self, state: State) -> None:
        """Take saved slots and counts."""
        self._held = {g: list(held) for g, _, _, held in state["classes"]}
        self._seen = {g: seen for g, seen, _, _ in state["classes"]}
        self._full = {g for g, _, full, _ in state["classes"] if full}
        self._count = sum(map(len, self._held.values()))


def policy(capacity: int | None, seed: int) -> ClassBalanced:
    """Class-balancing reservoir sampling."""
    if capacity is None:
        raise ConfigError("class-balancing reservoir sampling needs a capacity")
    return ClassBalanced(capacity, seed)
