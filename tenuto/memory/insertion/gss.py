"""Greedy gradient-based selection (GSS-greedy, Aljundi et al. 2019): keep rows whose gradients differ.

C = 1 + max cosine of a row's gradient with those of a random subset of the stored rows

While there is room every row is kept with its C. Then a row of C < 1, one whose gradient opposes all
of the subset's, meets a stored row i drawn with probability C_i / sum C and takes its place with
probability C_i / (C_i + C). One subset serves a batch, so memory depends on how rows are split;
victims and their fate are keyed by the row's number in the stream.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import torch

from tenuto.errors import ConfigError
from tenuto.protocols import Incoming, Left
from tenuto.randomness import choose, uniform
from tenuto.types import State

SUBSET = 10
"""Stored rows that a batch is compared with."""
ALONE = 0.1
"""The score of a row that no stored row could be compared with; the authors' value."""


class Greedy:
    """GSS-greedy.

    >>> import torch
    >>> opposed = Incoming(2, torch.zeros(1), lambda slots: -torch.ones(1, len(slots)))
    >>> policy = Greedy(2, seed=0)
    >>> policy.slots(Incoming(0, torch.zeros(2), lambda slots: torch.ones(2, len(slots))))
    [0, 1]
    >>> policy.slots(opposed) in ([0], [1])
    True
    """

    needs: frozenset[str] = frozenset({"gradients"})

    def __init__(self, capacity: int, seed: int) -> None:
        self._capacity = capacity
        self._seed = seed
        self._scores: list[float] = []

    def slots(self, incoming: Incoming) -> list[int]:
        """A slot for each row, or -1.

        Raises:
            ConfigError: no gradients were given.
        """
        if incoming.alike is None:
            raise ConfigError("insertion 'gss' compares gradients: give `alike` with the rows")
        n, first, held = len(incoming.groups), incoming.first, len(self._scores)
        near = torch.from_numpy(choose(self._seed, "gss subset", first, min(SUBSET, held), held)[0])
        cosines = incoming.alike(near).nan_to_num(1.0).clamp(-1, 1).tolist() if held else [[]] * n
        numbers = np.arange(first, first + n, dtype=np.uint64)
        victims = uniform(self._seed, "gss victim", numbers).tolist()
        fates = uniform(self._seed, "gss fate", numbers).tolist()
        slots, stale = [], set[int]()
        for row, victim, fate in zip(cosines, victims, fates, strict=True):
            met = [cosine for slot, cosine in zip(near.tolist(), row, strict=True) if slot not in stale]
            slots.append(self._place(1 + max(met) if met else ALONE, victim, fate, opposed=bool(met)))
            stale.add(slots[-1])
        return slots

    def _place(self, score: float, victim: float, fate: float, *, opposed: bool) -> int:
        """The slot of one row, given two draws in [0, 1)."""
        if len(self._scores) < self._capacity:
            self._scores.append(score)
            return len(self._scores) - 1
        sums = list(accumulate(self._scores))
        if not opposed or score >= 1 or not sums[-1]:
            return -1
        slot = next(i for i, top in enumerate(sums) if victim * sums[-1] < top)
        if fate * (self._scores[slot] + score) >= self._scores[slot]:
            return -1
        self._scores[slot] = score
        return slot

    def evicted(self, left: Left) -> None:
        """The others keep their scores."""
        self._scores = [self._scores[old] for old in left.stay]
        self._capacity = self._capacity if left.capacity is None else left.capacity

    def state(self) -> State:
        """The score of each stored row."""
        return {"scores": torch.tensor(self._scores, dtype=torch.float64)}

    def load_state(self, state: State) -> None:
        """Take saved scores."""
        self._scores = state["scores"].tolist()


def policy(capacity: int | None, seed: int) -> Greedy:
    """Greedy gradient-based selection."""
    if capacity is None:
        raise ConfigError("gradient-based selection needs a capacity")
    return Greedy(capacity, seed)
