"""What lies beside the rows of a memory: the group of each, and what rules and policies read by name.

Columns: "group"; where rows came with them "principal" and "domain", which are numbers in a table of names;
and what rules for keeping describe rows by. A row that came without one holds -1, or as a loss NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tenuto.errors import StateError
from tenuto.memory.names import Names
from tenuto.memory.table import Table
from tenuto.randomness import permutation
from tenuto.types import State

Named = Mapping[str, Sequence[str | None]]
"""Names of n rows, by what they name: "principal", "domain"."""
_FILL = {"principal": -1, "domain": -1, "number": -1, "loss": float("nan")}


class Beside(Table):
    """The columns beside a memory's rows.

    >>> beside = Beside(capacity=4)
    >>> beside.put([0, 1, 2], beside.described(torch.tensor([5, 6, 5]), {"principal": ["ann", None, "bob"]}))
    >>> beside.members(), beside.slots("principal", ["bob", "eve"])
    ({5: tensor([0, 2]), 6: tensor([1])}, [2])
    """

    def __init__(self, capacity: int | None) -> None:
        super().__init__(capacity, fill=_FILL)
        self._names: dict[str, Names] = {}
        self._outside: tuple[int, Tensor] | None = None

    def described(self, groups: Tensor, named: Named | None) -> dict[str, Tensor]:
        """The columns of n rows."""
        if not named:
            return {"group": groups}
        return {"group": groups, **{what: self._numbered(what, names) for what, names in named.items()}}

    def _numbered(self, what: str, names: Sequence[str | None]) -> Tensor:
        known, column = self._names.setdefault(what, Names()), self.columns.get(what)
        known.pruned(torch.empty(0) if column is None else column[: self.count])
        return known.numbers(names)

    def filled(self, name: str) -> Tensor:
        """A column of the rows held, (count,), that shares its memory."""
        column = self.columns.get(name)
        return torch.full((self.count,), _FILL.get(name, -1)) if column is None else column[: self.count]

    def slots(self, what: str, names: Iterable[str]) -> list[int]:
        """The slots of the rows that have one of these names, in ascending order."""
        if what not in self._names:
            return []
        numbers, held = self._names[what].known(names), self.filled(what)
        return [int(slot) for slot in torch.isin(held, torch.tensor(numbers, dtype=held.dtype)).nonzero()]

    def outside(self, group: int) -> Tensor:
        """The slots of all rows but those of one group, in ascending order."""
        if not self.count:
            return torch.empty(0, dtype=torch.int64)
        if self._outside is None or self._outside[0] != group:
            self._outside = group, (self.columns["group"][: self.count] != group).nonzero()[:, 0]
        return self._outside[1]

    def members(self) -> dict[int, Tensor]:
        """The slots of each group, both in ascending order."""
        if not self.count:
            return {}
        held = self.columns["group"][: self.count].numpy()
        groups, counts = np.unique(held, return_counts=True)
        slots = np.split(np.argsort(held, kind="stable"), counts.cumsum()[:-1])
        return {group: torch.from_numpy(mine) for group, mine in zip(groups.tolist(), slots, strict=True)}

    def surplus(self, spared: Tensor, *, key: tuple[int, str]) -> list[int]:
        """Slots beyond an even share of their groups, those that are farthest beyond last; none of `spared`.

        Args:
            spared: slots that stay.
            key: seed and purpose of the draws within a group.
        """
        members, kept, (seed, purpose) = self.members(), set(spared.tolist()), key
        share, found = -(-self.count // len(members)), []
        for group, slots in members.items():
            order = permutation(seed, f"{purpose}:{group}", len(slots))
            free = [slot for slot in slots[torch.from_numpy(order)].tolist() if slot not in kept]
            beyond = free[: max(0, len(slots) - share)]
            found += [(len(slots) - place, slot) for place, slot in enumerate(beyond)]
        return [slot for _, slot in sorted(found)]

    def changed(self) -> None:
        """Rows came or went."""
        self._outside = None

    def keep(self, stay: list[int], capacity: int | None = None) -> None:
        """Slot i holds what lay in slot stay[i]; the others are gone."""
        super().keep(stay, capacity)
        self.changed()

    @property
    def names(self) -> State:
        """The tables of names, by what they name."""
        return {what: list(known.table) for what, known in self._names.items()}

    def load_names(self, names: State) -> None:
        """Take saved tables, after saved columns. Raises StateError where names are missing."""
        for what in ("principal", "domain"):
            held = self.columns[what][: self.count] if what in self.columns else torch.empty(0)
            if len(held) and (what not in names or int(held.max()) >= len(names[what])):
                raise StateError(f"the saved memory tells rows by {what}, but not all names")
        self._names = {what: Names(table) for what, table in names.items()}
        self.changed()
