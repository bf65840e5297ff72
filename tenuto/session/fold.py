"""The fold: a learner walking the journal, one piece of work at a time.

    state_k = learn(state_{k-1}, work_k),   work from the agenda

Every change of the state is a step with a number of its own, consolidations included. Beside the
learner the fold keeps provenance: which entry of the journal lies in which slot of memory.
"""

from __future__ import annotations

import platform
from array import array
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import numpy as np
import torch

import tenuto
from tenuto import guards
from tenuto.errors import ExampleError
from tenuto.learner import Learner
from tenuto.reports import DriftReport
from tenuto.session.retiring import retired
from tenuto.store.agenda import Agenda, Order, Return, Rows
from tenuto.store.cursor import Cursor, Place
from tenuto.store.journal import Journal
from tenuto.store.records import Entry, Step
from tenuto.streams.encoding import Block, collate
from tenuto.types import KEEP, Batch, Trace, Verdict


class Fold:
    """A learner at step k of a journal.

    Args:
        learner: in the state of step k.
        journal: what it walks.
        k: steps behind it.
        cursor: its place.
        memory: the entry in each slot of its memory.
        until: heed no command beyond this cursor.

    Attributes:
        verdict: what the guards said of the last step.
        drifts: those found in the rows that were learned last.
    """

    def __init__(
        self,
        learner: Learner,
        journal: Journal,
        *,
        k: int,
        cursor: Cursor,
        memory: Mapping[int, int],
        until: Cursor | None = None,
    ) -> None:
        self.learner = learner
        self.k = k
        self.verdict: Verdict = KEEP
        self._auditor = guards.auditor(learner.guard)
        self._journal = journal
        self.agenda = Agenda(journal, cursor, learner.config.batch_size, until)
        self.changed: dict[int, int | None] = {}
        self.drifts: tuple[DriftReport, ...] = ()
        self._block: Block
        self._index: dict[int, int] = {}
        self._origin = [0] * (max(memory, default=-1) + 1)
        for slot, seq in memory.items():
            self._origin[slot] = seq

    @property
    def cursor(self) -> Cursor:
        """The place in the journal."""
        return self.agenda.cursor

    def stand(self, cursor: Cursor) -> None:
        """Go on from the place that was committed with this step, heeding every command."""
        self.agenda = Agenda(self._journal, cursor, self.learner.config.batch_size)

    @property
    def memory(self) -> dict[int, int]:
        """The entry in each slot: slot -> seq."""
        held = 0 if self.learner.memory is None else len(self.learner.memory)
        return dict(enumerate(self._origin[:held]))

    @property
    def frozen(self) -> str:
        """Why no row is learned now; empty where rows are."""
        return "" if self._auditor is None else self._auditor.frozen

    def advance(self, until: Place | None = None) -> Step | Return | None:
        """Do the next piece of work: its step, or the place to return to, or None where there is none."""
        self.verdict = KEEP
        match self.agenda.next(frozen=bool(self.frozen), until=until):
            case Rows() as rows:
                return self._learn(rows)
            case Order(entry):
                return self._obey(entry)
            case other:
                return other

    def _learn(self, rows: Rows) -> Step:
        learner, entries = self.learner, rows.entries
        senders = [None if rows.approved else entry.principal for entry in entries]
        first, last = entries[0].seq, entries[-1].seq
        self.k += 1
        self.drifts = ()
        self._drop(rows.over)
        try:
            trace = learner.learn_batch(self._sent(entries, senders), pace=rows.pace)
        except ExampleError as error:
            return Step(k=self.k, first_seq=first, last_seq=last, rows=0, verdict=f"refused: {error}")
        self.verdict = trace.verdict
        if not trace.verdict.keeps:
            self.cursor.lay_aside(entry.seq for entry in entries)
            self._trace(entries, trace)
            verdict = f"{trace.verdict.ruling}: {trace.verdict.reason}{_left(trace)}"
            return Step(k=self.k, first_seq=first, last_seq=last, rows=0, verdict=verdict)
        if len(trace.left) < len(entries):
            self.cursor.lay_aside(entry.seq for row, entry in enumerate(entries) if row not in trace.left)
        replayed = self._replayed(trace.batch)
        self._trace(entries, trace)
        self.drifts = trace.drifts
        n = len(trace.left)
        right = learner.task.right(trace.estimate.outputs[:n], trace.batch.targets[:n])
        return Step(
            k=self.k,
            first_seq=first,
            last_seq=last,
            rows=n,
            replayed=replayed,
            lr=learner.config.learning_rate * rows.pace,
            loss=trace.loss,
            correct=None if right is None else sum(right),
            verdict=_told(trace, len(entries)),
        )

    def _sent(self, entries: list[Entry], senders: list[str | None]) -> Batch:
        """The entries as a batch that says who sent them, where that is known."""
        batch = self._batch(entries)
        return msgspec.structs.replace(batch, principals=senders) if any(senders) else batch

    def _batch(self, entries: list[Entry]) -> Batch:
        """The entries side by side, out of a block decoded with what comes next where they can be."""
        numbers = self.learner.config.task != "classification"
        first, last = entries[0].seq, entries[-1].seq
        if first not in self._index:
            coming = [*entries, *self.agenda.ahead]
            self._index = {entry.seq: i for i, entry in enumerate(coming)}
            try:
                self._block = Block([entry.body or b"" for entry in coming], numbers=numbers)
            except ExampleError:
                self._index = {}
        start = self._index.get(first)
        if start is None or self._index.get(last) != start + len(entries) - 1:
            return collate([entry.body or b"" for entry in entries], numbers=numbers)
        return self._block.batch(start, start + len(entries))

    def _obey(self, entry: Entry) -> Step:
        self.k += 1
        self.drifts = ()
        body, said = entry.plain(), entry.kind
        match entry.kind:
            case "consolidate":
                self.learner.consolidate()
                said += f": {cause}" if (cause := body.get("cause")) else ""
            case "config":
                self.learner.configure(body)
            case "hold":
                seqs = body["seqs"]
                return Step(
                    k=self.k, first_seq=seqs[0], last_seq=seqs[-1], rows=0, verdict=f"hold: {body['reason']}"
                )
            case "retire":
                said = retired(self.learner, body["adapter"])
            case "episode":
                said = f"episode {body['number']}: {body['cause']}"
            case "outcome":
                said = f"outcome of episode {body['number']}"
            case "rollback":
                self.learner.configure({"learning_rate": body["learning_rate"]})
                said = f"rolled back: {body['reason']}"
            case "audit" if self._auditor is not None:
                self.verdict = self._auditor.evaluate(*held_out(body))
                said = "audit" if self.verdict.keeps else f"{self.verdict.ruling}: {self.verdict.reason}"
            case "thaw" if self._auditor is not None:
                self._auditor.rebase()
        return Step(k=self.k, first_seq=entry.seq, last_seq=entry.seq, rows=0, verdict=said)

    def _drop(self, seqs: Collection[int]) -> None:
        """Let go of what memory holds of these entries: others have taken their place."""
        memory = self.learner.memory
        slots = [slot for slot, seq in self.memory.items() if seq in seqs]
        if memory is not None and slots:
            memory.evict(slots)
            self._move(memory.moves.told())

    def _move(self, whence: list[int] | None) -> None:
        """Follow the rows of memory to the slots where they lie now."""
        held = 0 if self.learner.memory is None else len(self.learner.memory)
        self.changed.update(dict.fromkeys(range(held, len(self._origin))))
        if whence is not None:
            moved = [self._origin[slot] if slot >= 0 else 0 for slot in whence]
            self.changed.update((i, seq) for i, seq in enumerate(moved) if self._origin[i : i + 1] != [seq])
            self._origin = moved
        del self._origin[held:]

    def _trace(self, entries: list[Entry], trace: Trace) -> None:
        self._move(trace.whence)
        for entry, slot in zip(entries, trace.slots or (), strict=bool(trace.slots)):
            if slot >= 0:
                self._origin.extend([0] * (slot + 1 - len(self._origin)))
                self._origin[slot] = self.changed[slot] = entry.seq

    def _replayed(self, batch: Batch) -> bytes:
        slots = (slot for draw in batch.draws.values() for slot in draw.slots.tolist())
        return array("q", (self._origin[slot] for slot in slots)).tobytes()


def held_out(body: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Which held-out items an audit found right (n,), and their groups (n,), from its entry."""
    groups = torch.tensor(body["groups"], dtype=torch.int64)
    right = np.unpackbits(np.frombuffer(body["right"], np.uint8), count=len(groups))
    return torch.from_numpy(right).bool(), groups


def _told(trace: Trace, given: int) -> str:
    """The verdict of a step that was kept: rows that were evicted and why, a drift that was found."""
    out, why = given - len(trace.left), trace.verdict.reason
    drifts = [f"drift: {drift.detector}" for drift in trace.drifts[:1]]
    evicted = [f"evict: {out} of {given} rows" + (f": {why}" if why else "")] if out else []
    parts = trace.estimate.parts
    read = f"; read in {parts} parts, for want of memory" if parts > 1 else ""
    return "; ".join(evicted + drifts or ["keep"]) + _left(trace) + read


def _left(trace: Trace) -> str:
    """How many rows left memory because of who sent them."""
    return f"; {trace.evicted} left memory" if trace.evicted else ""


def environment() -> dict[str, Any]:
    """What a bit-exact replay depends on: code, torch, the CPU's capability, threads.

    >>> sorted(environment())
    ['cpu', 'machine', 'tenuto', 'threads', 'torch']
    """
    return {
        "tenuto": tenuto.__version__,
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
