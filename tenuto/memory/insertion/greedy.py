"""The greedy class-balanced sampler of GDumb (Prabhu et al. 2020): who comes first stays.

While there is room every row is kept. Then a row of a class that has less than its share, capacity /
classes, replaces a random row of the largest class; any other row is passed over.
"""

from __future__ import annotations

import numpy as np

from tenuto.errors import ConfigError
from tenuto.protocols import Incoming, Left
from tenuto.randomness import uniform
from tenuto.types import State


class Greedy:
    """GDumb's sampler.

    >>> import torch
    >>> policy = Greedy(2, seed=0)
    >>> policy.slots(Incoming(0, torch.tensor([0, 0, 0, 1, 1])))
    [0, 1, -1, 1, -1]
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, capacity: int, seed: int) -> None:
        self._capacity = capacity
        self._seed = seed
        self._held: dict[int, list[int]] = {}
        self._count = 0

    def slots(self, incoming: Incoming) -> list[int]:
        """A slot for each row, or -1."""
        groups = incoming.groups.tolist()
        numbers = np.arange(incoming.first, incoming.first + len(groups), dtype=np.uint64)
        draws = uniform(self._seed, "greedy", numbers).tolist()
        return [self._place(group, draw) for group, draw in zip(groups, draws, strict=True)]

    def _place(self, group: int, draw: float) -> int:
        held = self._held.setdefault(group, [])
        if self._count < self._capacity:
            held.append(self._count)
            self._count += 1
            return held[-1]
        donor = max(self._held.values(), key=len)
        if len(held) * len(self._held) >= self._capacity or donor is held:
            return -1
        pick = int(draw * len(donor))
        slot, donor[pick] = donor[pick], donor[-1]
        donor.pop()
        held.append(slot)
        return slot

    def evicted(self, left: Left) -> None:
        """The others keep their classes; a class without a row is one that never came."""
        now = {old: new for new, old in enumerate(left.stay)}
        held = {g: [now[old] for old in slots if old in now] for g, slots in self._held.items()}
        self._held = {g: slots for g, slots in held.items() if slots}
        self._count = len(left.stay)
        self._capacity = self._capacity if left.capacity is None else left.capacity

    def state(self) -> State:
        """The slots of each class."""
        return {"classes": [[group, list(held)] for group, held in self._held.items()]}

    def load_state(self, state: State) -> None:
        """Take saved slots."""
        self._held = {group: list(held) for group, held in state["classes"]}
        self._count = sum(map(len, self._held.values()))


def policy(capacity: int | None, seed: int) -> Greedy:
    """GDumb's sampler."""
    if capacity is None:
        raise ConfigError("the greedy sampler needs a capacity")
    return Greedy(capacity, seed)
