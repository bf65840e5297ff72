"""The agenda: what the learner does next, derived from the journal alone.

    effective entries = live examples in seq order, minus what a reset set aside,
                        with takes drawn forward to where they act
    steps             = effective examples in groups of `batch`, a flush ending a group early

A command acts once every entry up to its `after` (its own seq, unless it says otherwise) was read.
A reset to an earlier place is a jump: from there straight to where the reset stands.
Grouping depends on nothing but the journal, so the same journal gives the same work; leaving an
entry out gives the work of a journal that never held it.
"""

from __future__ import annotations

import json
from bisect import insort
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tenuto.errors import StoreError
from tenuto.store.journal import Journal
from tenuto.store.records import Entry

READ_AHEAD = 1024
Place = tuple[int, int]
"""(seq, done): every entry up to seq was read, and of the commands that act there those up to done."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Examples to learn in one step."""

    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Order:
    """A command to carry out."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Return:
    """The learner must go back to a state at or before this place and come again."""

    place: Place


Work = Rows | Order | Return


@dataclass(slots=True)
class Cursor:
    """The learner's place in the journal, small whatever the journal's length.

    Args:
        seq: every entry up to here was read.
        done: the last command carried out at this place.
        pending: seqs read and not yet learned: less than a batch.
        taken: seqs beyond `seq` that were learned ahead of their turn.
        aside: [first, last] stretches that a reset set aside.
        obeyed: the last `forget` the learner has answered.
    """

    seq: int = 0
    done: int = 0
    pending: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    aside: list[list[int]] = field(default_factory=list)
    obeyed: int = 0

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Cursor:
        """From plain data."""
        return cls(**json.loads(json.dumps(dict(plain))))

    def to_plain(self) -> dict[str, Any]:
        """As plain data that shares nothing with this cursor."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @property
    def place(self) -> Place:
        """Where it stands, to be compared."""
        return (self.seq, self.done)

    def set_aside(self, first: int, last: int) -> None:
        """Set a stretch aside, but for what was taken ahead out of it."""
        for seq in [*sorted(s for s in self.taken if first <= s <= last), last + 1]:
            if first < seq:
                self.aside.append([first, seq - 1])
            first = seq + 1
        self.taken = [seq for seq in self.taken if seq > last]

    def is_aside(self, seq: int) -> bool:
        """Was it set aside by a reset?"""
        return any(first <= seq <= last for first, last in self.aside)

    def requeue(self, seq: int) -> bool:
        """Take one seq out of what was set aside; False where it was not."""
        for i, (first, last) in enumerate(self.aside):
            if first <= seq <= last:
                self.aside[i : i + 1] = [s for s in ([first, seq - 1], [seq + 1, last]) if s[0] <= s[1]]
                return True
        return False


class Agenda:
    """Reads work from the journal, from a cursor on, heeding commands up to a place, where one is given.

    >>> import tempfile, pathlib
    >>> from tenuto.store.records import Row
    >>> journal = Journal(pathlib.Path(tempfile.mkdtemp()) / "ingest.db")
    >>> _ = journal.append([Row(id=str(i), body=b"row") for i in range(5)])
    >>> agenda = Agenda(journal, Cursor(), batch=3)
    >>> [entry.seq for entry in agenda.next().entries], agenda.next()
    ([1, 2, 3], None)
    >>> seq = journal.command("flush", {})
    >>> agenda.listen()
    >>> [entry.seq for entry in agenda.next().entries]
    [4, 5]
    """

    def __init__(self, journal: Journal, cursor: Cursor, batch: int, until: Place | None = None) -> None:
        self.cursor = cursor
        self._until = until
        self._journal = journal
        self._batch = batch
        self._ahead: list[Entry] = []
        self._at = 0
        self._read = self._heard = cursor.seq
        self._orders: list[tuple[Place, Entry]] = []
        self._pending = _live(journal.fetch(cursor.pending))
        self.listen()

    @property
    def ahead(self) -> list[Entry]:
        """Examples read and not yet due, in order."""
        return self._pending + self._ahead[self._at :]

    def listen(self) -> None:
        """Hear the commands written since the last time."""
        while news := self._journal.commands(after=self._heard):
            self._heard = news[-1].seq
            for entry in news:
                place = (entry.seq if entry.after is None else entry.after, entry.seq)
                if place > self.cursor.place and (self._until is None or place <= self._until):
                    insort(self._orders, (place, entry), key=lambda order: order[0])

    @property
    def returning(self) -> bool:
        """Does a reset wait to be carried out?"""
        return self._reset() is not None

    def next(self) -> Work | None:
        """The next piece of work, or None where the journal ends; the cursor moves past it."""
        while True:
            reset = self._reset()
            if reset is not None and _target(reset) < self.cursor.place:
                return Return(_target(reset))
            order = self._orders[0] if self._orders else None
            if reset is not None and (order is None or order[0] > _target(reset)):
                order = None
            stop = order[0][0] if order else _target(reset)[0] if reset else None
            if self._fill(stop):
                return self._rows()
            if order is not None:
                work = self._obey(*order)
                if work is not None:
                    return work
            elif reset is not None:
                self._jump(reset)
            else:
                return None

    # Reading -----------------------------------------------------------------------------------

    def _fill(self, stop: int | None) -> bool:
        """Read examples up to `stop` into pending; True once they fill a batch."""
        cursor = self.cursor
        while (room := self._batch - len(self._pending)) > 0:
            entries = self._take_ahead(room, stop)
            if not entries:
                if stop is not None and stop > cursor.seq:
                    cursor.seq, cursor.done = stop, 0
                cursor.pending = [entry.seq for entry in self._pending]
                return False
            cursor.seq, cursor.done = entries[-1].seq, 0
            if cursor.taken:
                entries = [entry for entry in entries if entry.seq not in cursor.taken]
                cursor.taken = [seq for seq in cursor.taken if seq > cursor.seq]
            self._pending += entries
        return True

    def _take_ahead(self, count: int, stop: int | None) -> list[Entry]:
        """The next entries, at most `count` and none beyond `stop`."""
        if self._at == len(self._ahead):
            self._ahead, self._at = self._journal.examples(after=self._read, limit=READ_AHEAD), 0
            if not self._ahead:
                return []
            self._read = self._ahead[-1].seq
            self.listen()
        entries = self._ahead[self._at : self._at + count]
        if stop is not None and entries[-1].seq > stop:
            entries = [entry for entry in entries if entry.seq <= stop]
        self._at += len(entries)
        return entries

    def _rows(self) -> Rows:
        rows, self._pending = self._pending[: self._batch], self._pending[self._batch :]
        self.cursor.pending = [entry.seq for entry in self._pending]
        return Rows(rows)

    # Commands ----------------------------------------------------------------------------------

    def _obey(self, place: Place, entry: Entry) -> Work | None:
        self._orders.pop(0)
        self.cursor.seq, self.cursor.done = place
        match entry.kind:
            case "flush":
                return self._rows() if self._pending else None
            case "take":
                return self._take(entry.plain()["seqs"])
            case "consolidate" | "config":
                return Order(entry)
            case "forget":
                return None
        raise StoreError(f"entry {entry.seq} is a {entry.kind!r} command, which this release does not know")

    def _take(self, seqs: list[int]) -> Rows | None:
        rows = [entry for entry in _live(self._journal.fetch(seqs)) if self._claim(entry.seq)]
        return Rows(rows) if rows else None

    def _claim(self, seq: int) -> bool:
        """Draw one seq forward; False where it was learned already."""
        cursor = self.cursor
        if seq in cursor.pending:
            cursor.pending.remove(seq)
            self._pending = [entry for entry in self._pending if entry.seq != seq]
            return True
        if seq > cursor.seq and seq not in cursor.taken:
            cursor.taken.append(seq)
            return True
        return cursor.requeue(seq)

    def _reset(self) -> Entry | None:
        """Of the resets still ahead the one that reaches furthest back; the newest of equals."""
        resets = [entry for _, entry in self._orders if entry.kind == "reset"]
        return min(resets, key=lambda entry: (_target(entry), -entry.seq)) if resets else None

    def _jump(self, reset: Entry) -> None:
        place = (reset.seq if reset.after is None else reset.after, reset.seq)
        self.cursor.set_aside(self.cursor.seq + 1, place[0])
        self.cursor.seq, self.cursor.done = place
        self._orders = [order for order in self._orders if order[0] > place]
        self._ahead = [entry for entry in self._ahead[self._at :] if entry.seq > place[0]]
        self._at, self._read = 0, max(self._read, place[0])


def _target(reset: Entry) -> Place:
    body = reset.plain()
    return (body["seq"], body["done"])


def _live(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.status == "live" and entry.kind == "example"]
