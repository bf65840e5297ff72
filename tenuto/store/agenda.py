"""The agenda: what the learner does next, derived from the journal alone.

    effective entries = live examples in seq order, minus what a reset set aside,
                        with takes drawn forward to where they act
    steps             = effective examples in groups of `batch`, a flush ending a group early

A command acts once every entry up to its `after` (its own seq, unless it says otherwise) was read.
A reset to an earlier place is a jump: from there straight to where the reset stands. A rollback acts at
that earlier place: what follows it is learned again.
Grouping depends on nothing but the journal, so the same journal gives the same work; leaving an
entry out gives the work of a journal that never held it.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import Any

from tenuto.errors import StoreError
from tenuto.store.cursor import Cursor, Place
from tenuto.store.journal import Journal
from tenuto.store.records import Entry

READ_AHEAD = 1024


@dataclass(frozen=True, slots=True)
class Rows:
    """Examples to learn in one step.

    Args:
        approved: learned whoever sent them.
        pace: the share of each update that is made.
        over: seqs that they take the place of.
    """

    entries: list[Entry]
    approved: bool = False
    pace: float = 1.0
    over: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """A command to carry out."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Return:
    """The learner must go back to a state at or before this place and come again."""

    place: Place


Work = Rows | Order | Return


class Agenda:
    """Reads work from the journal, from a cursor on, heeding the commands of another one, where one is given.

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

    def __init__(self, journal: Journal, cursor: Cursor, batch: int, until: Cursor | None = None) -> None:
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
                if self._heeds(entry):
                    insort(self._orders, (_place(entry), entry), key=lambda order: order[0])

    def _heeds(self, entry: Entry) -> bool:
        """Is this command one to come? A rollback is until it was gone back for, wherever it stands."""
        until = self._until
        if entry.kind == "rollback":
            return entry.seq > self.cursor.answered and (until is None or entry.seq <= until.answered)
        return _place(entry) > self.cursor.place and (until is None or _place(entry) <= until.place)

    @property
    def returning(self) -> bool:
        """Does a reset or a rollback wait to be carried out?"""
        return self._reset() is not None

    @property
    def ordered(self) -> Place | None:
        """The place where the last of the commands that were heard acts; None where all were obeyed."""
        return self._orders[-1][0] if self._orders else None

    def next(self, *, frozen: bool = False, until: Place | None = None) -> Work | None:
        """The next piece of work, or None where the journal ends; the cursor moves past it.

        Args:
            frozen: wait for a thaw, or a reset, before anything else.
            until: the place to stop at.
        """
        while until is None or self.cursor.place < until:
            reset = self._reset()
            if reset is not None and _target(reset) < self.cursor.place:
                return Return(_target(reset))
            if frozen:
                return self._thaw()
            order = self._orders[0] if self._orders else None
            if reset is not None and (order is None or order[0] > _target(reset)):
                order = None
            stop = order[0][0] if order else _target(reset)[0] if reset else until[0] if until else None
            if self._fill(stop):
                return self._rows()
            if order is not None:
                work = self._obey(*order)
                if work is not None:
                    return work
            elif reset is not None:
                if reset.kind == "rollback":
                    return self._repeat(reset)
                self._jump(reset)
            else:
                return None
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
                return self._take(entry.plain())
            case "hold":
                return self._hold(entry)
            case "consolidate" | "config" | "audit" | "episode" | "outcome" | "retire":
                return Order(entry)
            case "forget" | "thaw":
                return None
        raise StoreError(f"entry {entry.seq} is a {entry.kind!r} command, which this release does not know")

    def _take(self, body: dict[str, Any]) -> Rows | None:
        rows = [entry for entry in _live(self._journal.fetch(body["seqs"])) if self._claim(entry.seq)]
        if not rows:
            return None
        over = tuple(body.get("over", ()))
        for seq in over:
            self._claim(seq)
        return Rows(rows, bool(body.get("approved")), body.get("pace", 1.0), over)

    def _hold(self, entry: Entry) -> Order | None:
        """Lay rows aside that were not learned yet."""
        rows = [row.seq for row in _live(self._journal.fetch(entry.plain()["seqs"])) if self._claim(row.seq)]
        self.cursor.lay_aside(rows)
        return Order(entry) if rows else None

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

    def _thaw(self) -> Order | None:
        """The thaw that stands here, ahead of what else does."""
        for number, (place, entry) in enumerate(self._orders):
            if entry.kind == "thaw" and place[0] <= self.cursor.seq:
                del self._orders[number]
                return Order(entry)
        return None

    def _reset(self) -> Entry | None:
        """Of the resets and rollbacks ahead the one that reaches furthest back; the newest of equals."""
        resets = [entry for _, entry in self._orders if entry.kind in ("reset", "rollback")]
        return min(resets, key=lambda entry: (_target(entry), -entry.seq)) if resets else None

    def _repeat(self, rollback: Entry) -> Order:
        """What a rollback changes, here where it goes back to; those before it are answered with it."""
        self.cursor.answered = rollback.seq
        self._orders = [o for o in self._orders if o[1].kind != "rollback" or o[1].seq > rollback.seq]
        return Order(rollback)

    def _jump(self, reset: Entry) -> None:
        place = _place(reset)
        self.cursor.set_aside(self.cursor.seq + 1, place[0])
        self.cursor.answered = max(self.cursor.answered, reset.seq)
        self.cursor.seq, self.cursor.done = place
        self._orders = [order for order in self._orders if order[0] > place]
        self._ahead = [entry for entry in self._ahead[self._at :] if entry.seq > place[0]]
        self._at, self._read = 0, max(self._read, place[0])


def _place(command: Entry) -> Place:
    return (command.seq if command.after is None else command.after, command.seq)


def _target(reset: Entry) -> Place:
    body = reset.plain()
    return (body["seq"], body["done"])


def _live(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.status == "live" and entry.kind == "example"]
