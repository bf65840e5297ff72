"""A replay buffer under rules: what may stay, and what may not be replaced, beside what its policy says.

The invariant: rows are offered one by one, so what is kept depends on how they were split into batches only
where the insertion policy's choice does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from tenuto import trees
from tenuto.errors import ConfigError
from tenuto.memory.beside import Named
from tenuto.memory.buffer import ReplayBuffer
from tenuto.memory.keeping import Held, Keeping
from tenuto.protocols import Left

Rows = Mapping[str, Tensor]


class RuledBuffer(ReplayBuffer):
    """A replay buffer that keeps rules of `memory/retention`.

    Args:
        keep: the rules, as "principal:0.5+age:10000".
        capacity, insertion, sampling, seed, marks, bytes, compress, tokens: as for a `ReplayBuffer`.

    Raises:
        ConfigError: a rule is unknown, or asks for a share of a memory without bound.

    >>> buffer = RuledBuffer(keep="count:2", capacity=4)
    >>> rows = {"inputs": torch.arange(6.0).view(6, 1), "targets": torch.tensor([0, 0, 0, 0, 1, 1])}
    >>> buffer.add(rows["targets"], rows), buffer.groups()
    ([-1, 0, 1, -1, 2, 3], {0: 2, 1: 2})
    """

    def __init__(
        self,
        *,
        keep: str,
        capacity: int | None,
        insertion: str = "reservoir",
        sampling: str = "uniform",
        seed: int = 0,
        marks: bool = False,
        bytes: int | None = None,
        compress: int | None = None,
        tokens: bool = False,
    ) -> None:
        super().__init__(
            capacity=capacity,
            insertion=insertion,
            sampling=sampling,
            seed=seed,
            marks=marks,
            bytes=bytes,
            compress=compress,
            tokens=tokens,
        )
        self._keeping = Keeping(keep)
        if capacity is None and self._keeping.shares:
            raise ConfigError(f"memory_keep {keep!r} names a share of memory, and this one has no bound")
        self.needs |= self._keeping.needs

    def _begin(self) -> None:
        """A policy whose slots follow from rows' numbers is told that it does not see every row."""
        super()._begin()
        self.insertion.evicted(Left([], self.capacity, 0, self._stored))

    def add(
        self,
        groups: Tensor,
        rows: Rows,
        alike: Callable[[Tensor], Tensor] | None = None,
        losses: Tensor | None = None,
        named: Named | None = None,
    ) -> list[int]:
        """Offer n rows, one by one as rules ask; the slot of each after the last, or -1."""
        self.fit({name: column[0].nbytes for name, column in rows.items()})
        beside, place = self._described(groups, losses, named), dict[int, int]()
        values = zip(*(column.tolist() for column in beside.values()), strict=True)
        for row, told in enumerate(values):
            leave, may = self._keeping.room(self._held(), dict(zip(beside, told, strict=True)))
            if leave:
                stay = self.evict(leave)
                place = {new: place[old] for new, old in enumerate(stay) if old in place}
            slot = -1
            if may:
                here = {name: column[row : row + 1] for name, column in rows.items()}
                near = None if alike is None else partial(_of, alike, row)
                loss = None if losses is None else losses[row : row + 1]
                slot = self._slot(groups[row : row + 1], here, near, loss)
            self.seen += 1
            if slot >= 0:
                mine = {name: column[row : row + 1] for name, column in beside.items()}
                self.put([slot], here, mine)
                place[slot] = row
        found = {row: slot for slot, row in place.items()}
        return [found.get(row, -1) for row in range(len(groups))]

    def seen_again(self, slots: Tensor, scores: Tensor, kind: str = "losses") -> None:
        """Tell the policies, and the rules that need losses."""
        super().seen_again(slots, scores, kind)
        if kind == "losses" and "loss" in self.beside.columns:
            known = scores.detach().to("cpu", torch.float32)
            self.beside.columns["loss"].index_copy_(0, slots, known)

    def _slot(
        self, group: Tensor, here: Rows, alike: Callable[[Tensor], Tensor] | None, loss: Tensor | None
    ) -> int:
        """The slot of one row, or -1; a policy that gives it a protected one is set back."""
        full = self.capacity is not None and len(self) >= self.capacity
        before = trees.detach(self.insertion.state()) if full and self._keeping.protecting else None
        slot = self.insertion.slots(self._incoming(group, here, alike, loss))[0]
        if before is not None and slot >= 0 and self._keeping.protects(self._held(), slot):
            self.insertion.load_state(before)
            return -1
        return slot

    def _described(self, groups: Tensor, losses: Tensor | None, named: Named | None) -> dict[str, Tensor]:
        """What the rules read of fresh rows."""
        n, needs = len(groups), self._keeping.needs
        missing = {f"{what}s": what for what in ("principal", "domain") if what not in (named or {})}
        unnamed = {what: [None] * n for need, what in missing.items() if need in needs}
        found = self.beside.described(groups, {**(named or {}), **unnamed})
        found["number"] = torch.arange(self.seen, self.seen + n)
        if "losses" in needs:
            if losses is None:
                raise ConfigError("a rule keeps rows by their loss: give `losses` with the rows")
            found["loss"] = losses.detach().to("cpu", torch.float32)
        return found

    def _held(self) -> Held:
        columns = {name: self.beside.filled(name).numpy() for name in self._keeping.columns}
        return Held(columns, self.capacity, self._seed)


def _of(alike: Callable[[Tensor], Tensor], row: int, slots: Tensor) -> Tensor:
    """The cosines (1, k) of one row of a batch."""
    return alike(slots)[row : row + 1]
