"""The replay buffer: a table x an insertion policy x a sampling policy.

Insertion draws are keyed by each row's number in the stream, so what is remembered does not
depend on how rows were split into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from tenuto.errors import StateError
from tenuto.memory.beside import Beside, Named
from tenuto.memory.compressed import Compressed
from tenuto.memory.moves import Moves, compacted
from tenuto.memory.powers import Refreshed, Sparing
from tenuto.memory.table import Table
from tenuto.memory.tokens import Tokens
from tenuto.parts import find
from tenuto.protocols import Incoming, InsertionPolicy, Left, Pool, SamplingPolicy
from tenuto.randomness import permutation
from tenuto.types import Recalled, State

BESIDE = 64
"""Bytes counted for each row beside its payload: group, names, what policies keep of it; what they keep of
a group (herding its mean) is not counted."""


class ReplayBuffer:
    """A bounded memory of rows.

    Args:
        capacity: rows held; None for a memory without bound (joint training).
        insertion: name of a policy in `memory/insertion`.
        sampling: name of a policy in `memory/sampling`.
        seed: key of its draws.
        marks: does each row say whether it is recent?
        bytes: held at most, payload and what lies beside it; None: as many as the rows take.
        compress: numbers kept of an input, see `Compressed`; None: all.
        tokens: are rows made of tokens, see `Tokens`?

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
        bytes: int | None = None,
        compress: int | None = None,
        tokens: bool = False,
    ) -> None:
        self.capacity = self._rows = capacity
        self.bytes = None if capacity is None else bytes
        self.policies = [insertion, sampling]
        self._seed, self._marks, self._compress = seed, marks, compress
        self._whole = Tokens if tokens else Table
        self._begin()
        self.moves = Moves()
        self.needs = self.sampling.needs | self.insertion.needs
        """What its policies must be told of replayed rows, or be given with fresh ones."""

    def _begin(self) -> None:
        insertion, sampling = self.policies
        fill, k = {"weights": 1.0}, self._compress
        self.table = self._whole(self.capacity, fill) if k is None else Compressed(self.capacity, fill, k)
        self.beside = Beside(self.capacity)
        inserts = find("tenuto.memory.insertion", "insertion policy", insertion)
        samples = find("tenuto.memory.sampling", "sampling policy", sampling)
        self.insertion: InsertionPolicy = inserts.policy(self.capacity, self._seed)
        self.sampling: SamplingPolicy = samples.policy(self._seed)
        self.seen = 0

    def clear(self) -> None:
        """Let go of every row; the next one is the first."""
        self._begin()
        self.moves.left([])

    def __len__(self) -> int:
        return self.table.count

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype its rows are kept in; None while it is empty."""
        return self.table.dtype

    def add(
        self,
        groups: Tensor,
        rows: Mapping[str, Tensor],
        alike: Callable[[Tensor], Tensor] | None = None,
        losses: Tensor | None = None,
        named: Named | None = None,
    ) -> list[int]:
        """Offer n rows; answer the slot of each, or -1 where it was not kept.

        A row whose slot a later row of the same batch took is not kept either.

        Args:
            groups: (n,) int64, what balanced policies balance over.
            rows: columns of n rows.
            alike: cosines of the rows' gradients with those in slots, for policies that need them.
            losses: (n,) of the rows, for policies that need them.
            named: names of the rows that are to be kept beside them.

        Raises:
            ConfigError: there is no room for a single such row.
        """
        if self.bytes is not None:
            self.fit({name: column[0].nbytes for name, column in rows.items()})
        slots = self.insertion.slots(self._incoming(groups, rows, alike, losses))
        self.seen += len(slots)
        return slots if max(slots) < 0 else self.put(slots, rows, self.beside.described(groups, named))

    def _incoming(
        self,
        groups: Tensor,
        rows: Mapping[str, Tensor],
        alike: Callable[[Tensor], Tensor] | None,
        losses: Tensor | None,
    ) -> Incoming:
        if "inputs" in self.needs:
            return Incoming(self.seen, groups, alike, losses, _flat(rows["inputs"]), self._stored)
        return Incoming(self.seen, groups, alike, losses)

    def put(self, slots: list[int], rows: Mapping[str, Tensor], beside: Mapping[str, Tensor]) -> list[int]:
        """Write rows, some at least, into the slots a policy gave them; the slots of those that stay."""
        self.beside.changed()
        if self._marks:
            rows = {**rows, "recent": torch.ones(len(slots), dtype=torch.uint8)}
        first, top = slots[0], slots[0] + len(slots)
        if first >= 0 and slots == list(range(first, top)):
            self.table.put_run(first, top, rows)
            self.beside.put_run(first, top, beside)
            self.sampling.added(slots)
            into = slots
        else:
            taken = {slot: row for row, slot in enumerate(slots) if slot >= 0}
            slots = [slot if taken.get(slot) == row else -1 for row, slot in enumerate(slots)]
            into, which = list(taken), list(taken.values())
            self.table.put(into, rows, which)
            self.beside.put(into, beside, which)
            self.sampling.added(into)
        self.moves.put(into)
        return slots

    def evict(self, slots: Iterable[int], capacity: int | None = None) -> list[int]:
        """Let go of the rows in these slots, and of as much room as `capacity` leaves, where it is given.

        Returns:
            The slot in which the row of each slot lay before: the last rows move into the emptied slots.

        Raises:
            ConfigError: a slot holds no row.
        """
        stay = compacted(slots, len(self))
        self.capacity = self.capacity if capacity is None else capacity
        for table in (self.table, self.beside):
            table.keep(stay, capacity)
        left = Left(stay, self.capacity, self.seen, self._stored)
        self.insertion.evicted(left)
        self.sampling.evicted(left)
        self.moves.left(stay)
        return stay

    def expel(self, principals: Iterable[str]) -> list[int]:
        """Let go of the rows that these senders sent, as far as memory was told; what `evict` answers."""
        gone = self.beside.slots("principal", principals)
        return self.evict(gone) if gone else list(range(len(self)))

    def room(self, sizes: Mapping[str, int]) -> int | None:
        """How many rows of these bytes, by column, there is room for; ConfigError where for none."""
        if self.bytes is None or self.capacity is None:
            return self.capacity
        sizes = {**sizes, "recent": 1} if self._marks else sizes
        return min(self.capacity, self.table.fitting(sizes, self.bytes, beside=BESIDE))

    def fit(self, sizes: Mapping[str, int]) -> None:
        """Where bytes bound it, make rows of these bytes fit; which rows go for that is drawn among all."""
        if (room := self.room(sizes)) == self.capacity or room is None:
            return
        if not self.seen:
            self.capacity = room
            self._begin()
        else:
            over = max(0, len(self) - room)
            self.evict(permutation(self._seed, f"fit:{self.seen}", len(self))[:over].tolist(), room)

    def sample(self, n: int, step: int, draw: str) -> Recalled | None:
        """At most n rows under the draws of (step, draw); None while memory is empty."""
        count = self.table.count
        if not count or n < 1:
            return None
        columns = self.beside.columns
        pool = Pool(count, columns["group"], self._stored, columns.get("domain"))
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
        surplus = self.beside.surplus(self.recent(), key=(self._seed, f"level:{self.seen}"))
        self.insertion.spare(surplus)
        return len(surplus)

    def groups(self) -> dict[int, int]:
        """How many rows of each group are remembered."""
        return {group: len(slots) for group, slots in self.members().items()}

    def outside(self, group: int) -> Tensor:
        """The slots of all rows but those of one group, in ascending order."""
        return self.beside.outside(group)

    def members(self) -> dict[int, Tensor]:
        """The slots of each group, both in ascending order."""
        return self.beside.members()

    def _stored(self, slots: Tensor) -> Tensor:
        """The inputs (k, d) in slots."""
        return _flat(self.table.inputs(slots))

    def state(self) -> State:
        """Columns, counters and the policies' own state; under a bound in bytes, how many rows it allows."""
        return {
            "table": self.table.state(),
            "groups": self.beside.state(),
            "capacity": self._rows,
            "policies": list(self.policies),
            "seen": self.seen,
            "insertion": self.insertion.state(),
            "sampling": self.sampling.state(),
            **({"names": names} if (names := self.beside.names) else {}),
            **({"room": self.capacity} if self.bytes is not None else {}),
        }

    def load_state(self, state: State) -> None:
        """Take a saved memory; one of other policies or of another capacity is refused."""
        if state["policies"] != self.policies:
            raise StateError(
                f"the saved memory is {' x '.join(state['policies'])}, this one {' x '.join(self.policies)}"
            )
        if state["capacity"] != self._rows:
            raise StateError(
                f"the saved memory holds {state['capacity']} rows at most, this one {self._rows}"
            )
        if self.bytes is not None:
            self.capacity = int(state["room"])
            self._begin()
        self.table.load_state(state["table"])
        self.beside.load_state(state["groups"])
        self.beside.load_names(state.get("names", {}))
        self.moves = Moves()
        self.seen = int(state["seen"])
        self.insertion.load_state(state["insertion"])
        self.sampling.load_state(state["sampling"])


def _flat(inputs: Tensor) -> Tensor:
    """Inputs as vectors (n, d) that have distances."""
    return inputs.detach().flatten(1).to(torch.float32)
