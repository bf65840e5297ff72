"""Herding: within groups of equal size, rows whose mean is that of all rows seen (Welling 2009; iCaRL 2017).

    give up argmin_i |(S - x_i) / (m - 1) - mu|^2 = argmin_i |x_i|^2 - 2 x_i (S - (m - 1) mu)

S is the sum of the m rows that stand, held ones and the new one, mu the mean of every row the group has
shown: what is left represents the group, where a random sample of a few rows strays from it. iCaRL picks
such rows from a whole class; here they are kept on a stream, and the mean is all that stays of rows gone.

Rows are compared at unit length, so no scale of the inputs counts. There is one float64 mean for each group
held, and a row costs a pass over the rows of one group. The new row gives way among equals.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenuto.errors import ConfigError
from tenuto.memory.ranked import Read, reader
from tenuto.protocols import Incoming, Left
from tenuto.types import State

Floats = NDArray[np.float64]


class Herding:
    """Groups of equal size that keep their means.

    >>> line = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    >>> Herding(1).slots(Incoming(0, torch.zeros(4), inputs=line, stored=lambda slots: line[slots]))
    [0, -1, 0, -1]
    """

    needs: frozenset[str] = frozenset({"inputs"})

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: dict[int, list[int]] = {}
        self._seen: dict[int, int] = {}
        self._mean: dict[int, Floats] = {}
        self._count = 0

    def slots(self, incoming: Incoming) -> list[int]:
        """A slot for each row, or -1.

        Raises:
            ConfigError: the inputs that it compares were not given.
        """
        if incoming.inputs is None or incoming.stored is None:
            raise ConfigError("insertion 'herding' compares inputs: give `inputs` and `stored` with the rows")
        placed: dict[int, int] = {}
        read, slots = reader(incoming, placed), []
        rows = _unit(incoming.inputs)
        for row, group in enumerate(incoming.groups.tolist()):
            slots.append(self._place(int(group), rows[row], read))
            if slots[-1] >= 0:
                placed[slots[-1]] = row
        return slots

    def _place(self, group: int, x: Floats, read: Read) -> int:
        """The slot of one row of unit length."""
        held = self._held.setdefault(group, [])
        self._seen[group] = seen = self._seen.get(group, 0) + 1
        mean = self._mean.get(group, np.zeros_like(x))
        self._mean[group] = mean + (x - mean) / seen
        if self._count < self._capacity:
            held.append(self._count)
            self._count += 1
            return held[-1]
        most = max(map(len, self._held.values()))
        joins = len(held) == most
        donor = group if joins else next(g for g, slots in self._held.items() if len(slots) == most)
        rows = _unit(read(np.array(self._held[donor])))
        if joins:
            gone = spare(np.vstack([x, rows]), self._mean[donor]) - 1
            if gone < 0:
                return -1
        else:
            gone = spare(rows, self._mean[donor])
        slot = self._held[donor].pop(gone)
        held.append(slot)
        if not self._held[donor]:
            del self._held[donor], self._seen[donor], self._mean[donor]
        return slot

    def evicted(self, left: Left) -> None:
        """The others keep their groups and means; a group without a row is one that never came."""
        now = {old: new for new, old in enumerate(left.stay)}
        held = {g: [now[old] for old in slots if old in now] for g, slots in self._held.items()}
        self._held = {g: slots for g, slots in held.items() if slots}
        self._seen = {g: self._seen[g] for g in self._held}
        self._mean = {g: self._mean[g] for g in self._held}
        self._count = len(left.stay)
        self._capacity = self._capacity if left.capacity is None else left.capacity

    def state(self) -> State:
        """The slots, the count and the mean of each group."""
        return {
            "groups": [
                [group, self._seen[group], list(held), torch.from_numpy(self._mean[group])]
                for group, held in self._held.items()
            ]
        }

    def load_state(self, state: State) -> None:
        """Take what was saved; a group whose last row goes starts anew if it returns."""
        self._held = {group: list(held) for group, _, held, _ in state["groups"]}
        self._seen = {group: seen for group, seen, _, _ in state["groups"]}
        self._mean = {group: mean.numpy().copy() for group, _, _, mean in state["groups"]}
        self._count = sum(map(len, self._held.values()))


def spare(rows: Floats, mean: Floats) -> int:
    """Which of m rows (m, d) leaves the others' mean closest to `mean`; of equal ones the first.

    >>> spare(np.array([[1.0], [4.0], [9.0]]), np.array([5.0]))
    1
    """
    rest = rows.sum(0) - (len(rows) - 1) * mean
    return int((rows * (rows - 2 * rest)).sum(1).argmin())


def _unit(inputs: Tensor) -> Floats:
    """Rows (n, d) of length one; those of length zero stay."""
    rows = np.asarray(inputs.numpy(force=True), dtype=np.float64)
    length = np.sqrt((rows * rows).sum(1, keepdims=True))
    return np.asarray(rows / np.where(length > 0, length, 1.0))


def policy(capacity: int | None, seed: int) -> Herding:
    """Keep what represents."""
    if capacity is None:
        raise ConfigError("herding needs a capacity")
    return Herding(capacity)
