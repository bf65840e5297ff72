"""The replay buffer: a table x an insertion policy x a sampling policy.

Insertion draws are keyed by each row's number in the stream, so what is remembered does not
depend on how rows were split into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from tenuto.errors import StateError
from tenuto.memory.ranked import Refreshed
from tenuto.memory.table import Table
from tenuto.parts import find
from tenuto.protocols import Incoming, InsertionPolicy, Pool, SamplingPolicy
from tenuto.randomness import permutation
from tenuto.types import Recalled, State


@runtime_checkable
class Sparing(Protocol):
    """A policy to which slots are alike, so that it can be told which of them to give up first."""

    def spare(self, slots: list[int]) -> None:
        """Rows that are kept take these slots, the last one first, before any other."""


class ReplayBuffer:
    """A bounded memory of rows.

    Args:
        capacity: rows held; None for a memory without bound (joint training).
        insertion: name of a policy in `memory/insertion`.
        sampling: name of a policy in `memory/sampling`.
        seed: key of its draws.
        marks: does each row say whether it is recent?

    >>> buffer = ReplayBuffer(capacity=2, insertion="reservoir", sampling="uniform", seed=0)
    >>> rows = {"inputs": torch.arange(8.0).view(8, 1), "targets": torch.zeros(8, dtype=torch.int64)}
    >>> buffer.add(rows["targets"], rows)
    [-1, 1, -1, -1, -1, -1, -1, 0]
    >>> len(buffer)
    2
    """

    def __init__(
        self,
        *,
        capacity: int | None,
        insertion: str = "reservoir",
        sampling: str = "uniform",
        seed: int = 0,
        marks: bool = False,
    ) -> None:
        self.capacity = capacity
        self.policies = [insertion, sampling]
        self._seed = seed
        self._marks = marks
        self.clear()
        self.needs = self.sampling.needs | self.insertion.needs
        """What its policies must be told of replayed rows, or be given with fresh ones."""

    def clear(self) -> None:
        """Let go of every row; the next one is the first."""
        insertion, sampling = self.policies
        self.table = Table(self.capacity, fill={"weights": 1.0})
        self._groups = Table(self.capacity)
        self._outside: tuple[int, Tensor] | None = None
        self.insertion = _insertion(insertion, self.capacity, self._seed)
        self.sampling = _sampling(sampling, self._seed)
        self.seen = 0

    def __len__(self) -> int:
        return self.table.count

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype its rows are kept in; None while it is empty."""
        inputs = self.table.columns.get("inputs")
        return None if inputs is None else inputs.dtype

    def add(
        self,
        groups: Tensor,
        rows: Mapping[str, Tensor],
        alike: Callable[[Tensor], Tensor] | None = None,
        losses: Tensor | None = None,
    ) -> list[int]:
        """Offer n rows; answer the slot of each, or -1 where it was not kept.

        A row whose slot a later row of the same batch took is not kept either.

        Args:
            groups: (n,) int64, what balanced policies balance over.
            rows: columns of n rows.
            alike: cosines of the rows' gradients with those in slots, for policies that need them.
            losses: (n,) of the rows, for policies that need them.
        """
        if "inputs" in self.needs:
            incoming = Incoming(self.seen, groups, alike, losses, _flat(rows["inputs"]), self._stored)
        else:
            incoming = Incoming(self.seen, groups, alike, losses)
        slots = self.insertion.slots(incoming)
        self.seen += len(slots)
        if max(slots) < 0:
            return slots
        self._outside = None
        if self._marks:
            rows = {**rows, "recent": torch.ones(len(slots), dtype=torch.uint8)}
        first, top = slots[0], slots[0] + len(slots)
        if first >= 0 and slots == list(range(first, top)):
            self.table.put_run(first, top, rows)
            self._groups.put_run(first, top, {"group": groups})
            self.sampling.added(slots)
        else:
            taken = {slot: row for row, slot in enumerate(slots) if slot >= 0}
            slots = [slot if taken.get(slot) == row else -1 for row, slot in enumerate(slots)]
            into, which = list(taken), list(taken.values())
            self.table.put(into, rows, which)
            self._groups.put(into, {"group": groups}, which)
            self.sampling.added(into)
        return slots

    def sample(self, n: int, step: int, draw: str) -> Recalled | None:
        """At most n rows under the draws of (step, draw); None while memory is empty."""
        count = self.table.count
        if not count or n < 1:
            return None
        pool = Pool(count, self._groups.columns["group"], self._stored)
        slots, weights = self.sampling.rows(min(n, count), pool, step, draw)
        columns = self.table.get(slots)
        if "weights" in columns:
            weights = columns["weights"] if weights is None else columns["weights"] * weights
        return Recalled(columns, slots, weights)

    def seen_again(self, slots: Tensor, scores: Tensor, kind: str = "losses") -> None:
        """Tell the policies that need this kind of score the newest ones (n,) of replayed slots."""
        if kind in self.sampling.needs:
            self.sampling.seen(slots, scores)
        if kind in self.insertion.needs and isinstance(self.insertion, Refreshed):
            self.insertion.seen(slots, scores)

    @property
    def scores(self) -> bool:
        """Do its policies follow a score of the rows it holds?"""
        return bool(self.needs & {"losses", "entropy"})

    def recent(self) -> Tensor:
        """The slots of rows that came after `rested`, ascending; none where rows have no marks."""
        marks = self.table.columns.get("recent")
        return torch.empty(0, dtype=torch.int64) if marks is None else marks[: len(self)].nonzero()[:, 0]

    def rested(self) -> None:
        """From here on every row that is held now is an old one."""
        if "recent" in self.table.columns:
            self.table.columns["recent"].zero_()

    def level(self) -> int:
        """Where groups are uneven, let old rows of those with more than their share go first; how many.

        A policy that keeps its groups even by itself needs none; nothing goes before a new row comes for it.
        """
        if not isinstance(self.insertion, Sparing) or len(self) != self.capacity:
            return 0
        members, recent = self.members(), set(self.recent().tolist())
        share, found = -(-len(self) // len(members)), []
        for group, slots in members.items():
            order = permutation(self._seed, f"level:{self.seen}:{group}", len(slots))
            old = [slot for slot in slots[torch.from_numpy(order)].tolist() if slot not in recent]
            surplus = old[: max(0, len(slots) - share)]
            found += [(len(slots) - place, slot) for place, slot in enumerate(surplus)]
        self.insertion.spare([slot for _, slot in sorted(found)])
        return len(found)

    def groups(self) -> dict[int, int]:
        """How many rows of each group are remembered.

        >>> ReplayBuffer(capacity=2).groups()
        {}
        """
        return {group: len(slots) for group, slots in self.members().items()}

    def outside(self, group: int) -> Tensor:
        """The slots of all rows but those of one group, in ascending order."""
        if not len(self):
            return torch.empty(0, dtype=torch.int64)
        if self._outside is None or self._outside[0] != group:
            held = self._groups.columns["group"][: len(self)]
            self._outside = group, (held != group).nonzero()[:, 0]
        return self._outside[1]

    def members(self) -> dict[int, Tensor]:
        """The slots of each group, both in ascending order."""
        if not len(self):
            return {}
        held = self._groups.columns["group"][: len(self)].numpy()
        groups, counts = np.unique(held, return_counts=True)
        slots = np.split(np.argsort(held, kind="stable"), counts.cumsum()[:-1])
        return {group: torch.from_numpy(mine) for group, mine in zip(groups.tolist(), slots, strict=True)}

    def _stored(self, slots: Tensor) -> Tensor:
        """The inputs (k, d) in slots."""
        return _flat(self.table.columns["inputs"].index_select(0, slots))

    def state(self) -> State:
        """Columns, counters and the policies' own state."""
        return {
            "table": self.table.state(),
            "groups": self._groups.state(),
            "capacity": self.capacity,
            "policies": list(self.policies),
            "seen": self.seen,
            "insertion": self.insertion.state(),
            "sampling": self.sampling.state(),
        }

    def load_state(self, state: State) -> None:
        """Take a saved memory; one of other policies or of another capacity is refused."""
        if state["policies"] != self.policies:
            raise StateError(
                f"the saved memory is {' x '.join(state['policies'])}, this one {' x '.join(self.policies)}"
            )
        if state["capacity"] != self.capacity:
            raise StateError(
                f"the saved memory holds {state['capacity']} rows at most, this one {self.capacity}"
            )
        self.table.load_state(state["table"])
        self._groups.load_state(state["groups"])
        self._outside = None
        self.seen = int(state["seen"])
        self.insertion.load_state(state["insertion"])
        self.sampling.load_state(state["sampling"])


def _flat(inputs: Tensor) -> Tensor:
    """Inputs as vectors (n, d) that have distances."""
    return inputs.detach().flatten(1).to(torch.float32)


def _insertion(name: str, capacity: int | None, seed: int) -> InsertionPolicy:
    policy: InsertionPolicy = find("tenuto.memory.insertion", "insertion policy", name).policy(capacity, seed)
    return policy


def _sampling(name: str, seed: int) -> SamplingPolicy:
    policy: SamplingPolicy = find("tenuto.memory.sampling", "sampling policy", name).policy(seed)
    return policy
