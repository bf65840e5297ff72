"""The present context: its domain, a uniform sample of its rows, and the parts that close it.

A context ends when the learner consolidates. Where rows name their domain, it consolidates by itself
before the first row of another one; no method requires that they do.

A step only copies its rows; they are offered to the sample some hundred at a time, with the same outcome,
because the sample draws by each row's number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from tenuto import trees
from tenuto.counters import Counters
from tenuto.memory import ReplayBuffer
from tenuto.memory.beside import Named
from tenuto.models import Body
from tenuto.protocols import Objective, Part, View
from tenuto.randomness import key
from tenuto.types import Batch, State

TOGETHER = 256
"""Rows that are offered to the sample at once."""


class Context:
    """What is known of the present context.

    Args:
        parts: the method's, by name; without any, no row is kept and no domain closes a context.
        rows: how many of its rows to keep for them, by reservoir sampling; 0: none.
        seed: key of the draws.

    >>> import torch
    >>> from tenuto.methods.shared.teacher import Predecessor
    >>> context = Context({"teacher": Predecessor()}, rows=2, seed=0)
    >>> context.note(Batch(torch.zeros(3, 1), torch.zeros(3)), ["night", None, None])
    >>> len(context), context.turns(["night"]), context.turns([None]), context.turns(["day"])
    (2, False, False, True)
    """

    def __init__(self, parts: Mapping[str, Part], rows: int, seed: int) -> None:
        self.parts = dict(parts)
        self._seed = seed
        self._capacity = rows if parts else 0
        self._domain: str | None = None
        self._buffer: ReplayBuffer | None = None
        self._waiting: list[dict[str, Tensor]] = []
        self._senders: list[Sequence[str | None]] = []
        self._count = 0
        self._empty()

    def __len__(self) -> int:
        self._offer()
        return len(self._buffer) if self._buffer is not None else 0

    @property
    def keeps(self) -> bool:
        """Does it keep a sample of its rows?"""
        return self._capacity > 0

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype its rows are kept in; None while there are none."""
        if self._waiting:
            return self._waiting[0]["inputs"].dtype
        return None if self._buffer is None else self._buffer.dtype

    def turns(self, domains: Sequence[str | None] | None) -> bool:
        """Do these rows open another context? The first one that names its domain decides."""
        if not self.parts or domains is None:
            return False
        named = next((d for d in domains if d is not None), None)
        return None not in (named, self._domain) and named != self._domain

    def note(self, fresh: Batch, domains: Sequence[str | None] | None, named: Named | None = None) -> None:
        """Rows of this context were learned: (n, *shape) in the source's dtype, targets encoded.

        `named` tells who sent them ("principal") where they may be evicted for it.
        """
        if domains is not None:
            self._domain = next((d for d in reversed(domains) if d is not None), self._domain)
        if self._capacity:
            rows = {"inputs": fresh.inputs, "targets": fresh.targets}
            if fresh.weights is not None:
                rows["weights"] = fresh.weights
            if self._waiting and rows.keys() != self._waiting[0].keys():
                self._offer()
            self._waiting.append(trees.copy(rows))
            self._senders.append((named or {}).get("principal", [None] * len(fresh)))
            self._count += len(fresh)
            if self._count >= TOGETHER:
                self._offer()

    def close(self, body: Body, objective: Objective, counters: Counters) -> None:
        """Let every part close this context, and let go of its rows."""
        number, rows = counters.consolidations, self.rows(body)
        view = View(body.module, body.params, objective, objective.task, rows, self._seed, number)
        for part in self.parts.values():
            part.consolidate(view)
        self._empty()
        counters.consolidations = number + 1

    def undo(self, counters: Counters) -> Callable[[], None]:
        """What takes back all that `close` will change."""
        state, number = trees.detach(self.state()), counters.consolidations

        def take_back() -> None:
            self.load_state(state)
            counters.consolidations = number

        return take_back

    def _offer(self) -> None:
        """Let the sample draw from the rows that wait."""
        waiting, self._waiting, self._count = self._waiting, [], 0
        senders, self._senders = [who for batch in self._senders for who in batch], []
        if waiting and self._buffer is not None:
            rows = {name: torch.cat([batch[name] for batch in waiting]) for name in waiting[0]}
            named = {"principal": senders} if any(senders) else None
            self._buffer.add(rows["targets"], rows, named=named)

    def expel(self, principals: Sequence[str]) -> None:
        """Let go of the rows that these senders sent, as far as it was told."""
        self._offer()
        if self._buffer is not None:
            self._buffer.expel(principals)
            self._buffer.moves.told()

    def rows(self, body: Body) -> Batch | None:
        """The rows of this context that are kept, as the module reads them; None where there are none."""
        self._offer()
        if self._buffer is None or not len(self._buffer):
            return None
        columns = self._buffer.table.state()["columns"]
        return Batch(body.read(columns["inputs"]), columns["targets"], columns.get("weights"))

    def _empty(self) -> None:
        self._waiting, self._senders, self._count = [], [], 0
        seed = int(key(self._seed, "context")) >> 1
        self._buffer = ReplayBuffer(capacity=self._capacity, seed=seed) if self._capacity else None

    def state(self) -> State:
        """The parts' own, and beside them the domain and the rows of the context."""
        if not self.parts:
            return {}
        self._offer()
        parts: State = {name: part.state() for name, part in self.parts.items()}
        rows = None if self._buffer is None else self._buffer.state()
        return {**parts, "context": {"domain": self._domain, "rows": rows}}

    def load_state(self, state: State) -> None:
        """Take saved parts and a saved context."""
        for name, part in self.parts.items():
            part.load_state(state[name])
        if not self.parts:
            return
        self._domain, rows = state["context"]["domain"], state["context"]["rows"]
        self._empty()
        if self._buffer is not None:
            self._buffer.load_state(rows)
