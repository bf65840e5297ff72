"""The walk: the fold moves through the journal, and what it makes is committed in groups.

A commit is one transaction: step rows, cursor, the slots of memory that changed, the digest, and every so
often a snapshot. What no commit holds is made again from the newest snapshot, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tenuto.assembled import CHANGEABLE
from tenuto.config import SessionConfig
from tenuto.consolidation import crosses
from tenuto.errors import ConfigError, StoreError
from tenuto.protocols import Scheduler
from tenuto.reports import DriftReport
from tenuto.session import oversight, recovery
from tenuto.session.fold import Fold, environment
from tenuto.session.oversight import Audits
from tenuto.session.rests import News
from tenuto.session.screen import Screen
from tenuto.store.agenda import Return
from tenuto.store.cursor import Cursor, Place
from tenuto.store.home import Home
from tenuto.store.journal import Journal
from tenuto.store.records import Entry, SnapshotRow, Step
from tenuto.types import Ruling, Verdict

TRIES = 3
"""Rollbacks to one place, at most: where three have not helped, a fourth would not."""


class Walk:
    """A fold on its way through a home, from where the home stands.

    Args:
        home: open for writing.
        settings: how often to commit, and what to keep.
        make: makes the home's learner, before its first row.
        begin: makes the learner of a new home, where it begins from weights of its own.

    Attributes:
        fold: the learner and its place.
        exact: does it come back bit for bit on this machine?
        audits: held-out rows to ask on the way; None: none.
        screen: looks at rows before they are learned; None: nobody does.
    """

    def __init__(
        self, home: Home, settings: SessionConfig, make: recovery.Make, begin: recovery.Make | None = None
    ) -> None:
        self.home = home
        self._settings = settings
        self._make = make
        self._made: list[Step] = []
        self._whole = True
        self.audits: Audits | None = None
        self.screen: Screen | None = None
        if not home.snapshots.list():
            self.genesis(begin or make)
        self.heed()
        self.fold, self.exact = recovery.recover(home, make)
        self._committed = self.fold.cursor.to_plain()
        self._news = News(self.fold.learner.examples)
        self.turn()

    @property
    def unfinished(self) -> bool:
        """Are there whole steps that no commit holds yet?"""
        return bool(self._made) and self._whole

    def steps(self, until: Place | None = None) -> Iterator[Step]:
        """Make the steps that are due, up to a place; groups of them are committed on the way."""
        if not self._whole:
            raise StoreError("a step was broken off half-way; open the home again: it is then made anew")
        if self.screen is not None:
            self.screen.look(self)
        self.fold.agenda.listen()
        self._look()
        self._whole = False
        updates = self.fold.learner.steps
        while (done := self.fold.advance(until)) is not None:
            before, updates = updates, self.fold.learner.steps
            if isinstance(done, Return):
                self._return(done.place)
                updates = self.fold.learner.steps
                continue
            if self.fold.verdict.ruling is Ruling.ROLLBACK:
                self._roll_back(done, self.fold.verdict)
            self._made.append(done)
            self.found(self.fold.drifts)
            self._whole = True
            if done.k % self._settings.snapshot_every == 0 or crosses(
                self.fold.learner.recipe.checkpoint, before, updates - before
            ):
                self.commit(snapshot=True)
            elif len(self._made) >= self._settings.commit_every:
                self.commit()
            yield done
            self._look(done)
            self._whole = False
        self._whole = True

    def order(self, kind: str, body: Mapping[str, Any]) -> None:
        """Write a command that acts here and now, ahead of any backlog."""
        self.home.journal.command(kind, body, after=self.fold.cursor.seq)
        self.fold.agenda.listen()

    def obey(self) -> list[Step]:
        """Carry out the commands that were given, and nothing of the backlog behind them; the steps made."""
        place = self.fold.agenda.ordered
        return [] if place is None else [*self.steps(place)]

    def audit(self, audits: Audits) -> None:
        """Order that the guard judge how held-out rows are answered now."""
        self.order("audit", audits.answers(self.fold.learner))

    def _look(self, step: Step | None = None) -> None:
        """Order the audit that is due; keep the state that passed one, go back to it from one that failed."""
        if step is not None and step.verdict == "audit":
            self.snapshot(None)
        if self.fold.frozen and self._settings.freeze == "return" and not self.fold.agenda.returning:
            seq, done = oversight.place(self.home, None, frozen=True)
            self.order("reset", {"seq": seq, "done": done})
        if self.audits is not None and not self.fold.frozen and self.audits.due(self.home, self.fold.k):
            self.audit(self.audits)

    def take(self, ids: Sequence[str], *, approved: bool) -> None:
        """Order these rows to be learned now. Raises ConfigError where one is not in the journal."""
        found = {id: self.home.journal.lookup(id) for id in ids}
        for id, entry in found.items():
            if entry is None:
                self.home.journal.database.trust()
                raise ConfigError(f"there is no row {id!r} in the journal; ingest it first")
        rows = [entry for entry in found.values() if entry is not None]
        if self.screen is not None:
            rows = self.screen.chosen(self, rows, approved=approved)
        size = self.fold.learner.config.batch_size
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            body: dict[str, Any] = {"seqs": [entry.seq for entry in some]}
            if approved:
                body["approved"] = True
            if self.screen is not None and (over := self.screen.replaced(some, self.fold.cursor)):
                body["over"] = over
            self.order("take", body)

    def tell(self, scheduler: Scheduler, now: float) -> None:
        """Tell it what was learned, and which drifts were found, since the last time."""
        self._news.tell(scheduler, self.fold.learner.examples, now)

    def found(self, drifts: Sequence[DriftReport]) -> None:
        """Drifts were found, to be told of the next time."""
        self._news.found(drifts)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change those of these settings that may change and differ, from the next step on."""
        mine = self.fold.learner.config.to_plain()
        mine["learning_rate"] = self._asked_rate()
        changes = {n: settings[n] for n in CHANGEABLE if settings.get(n, mine[n]) != mine[n]}
        if changes:
            self.order("config", changes)

    def _asked_rate(self) -> float:
        """The learning rate as it was asked for: where a rollback lowered it, that from before."""
        rate = self.fold.learner.config.learning_rate
        for order in self.home.journal.fetch([self.fold.cursor.answered]):
            body = order.plain()
            return float(body["asked"]) if body.get("learning_rate") == rate else rate
        return rate

    def genesis(self, begin: recovery.Make) -> None:
        """Keep the learner as it is before its first row."""
        learner, cursor = begin(), Cursor()
        fold = Fold(learner, self.home.journal, k=0, cursor=cursor, memory={})
        row = self._frozen(fold, learner.digest(), pinned=False, name="genesis")
        self.home.ledger.commit([], cursor=row.cursor, digest=row.digest, snapshot=row)

    def _frozen(self, fold: Fold, digest: str, *, name: str | None, pinned: bool) -> SnapshotRow:
        """The fold's state with its blobs durable, to be committed at this step."""
        return self.home.snapshots.take(
            fold.learner.save_state(),
            memory=fold.memory,
            k=fold.k,
            cursor=fold.cursor.to_plain(),
            digest=digest,
            environment=environment(),
            name=name,
            pinned=pinned,
        )

    def commit(self, *, snapshot: bool = False, name: str | None = None) -> None:
        """Commit the steps made since the last time, with a snapshot of the state where asked."""
        fold, cursor = self.fold, self.fold.cursor.to_plain()
        if not (self._made or snapshot or cursor != self._committed):
            return
        digest = fold.learner.digest()
        row = self._frozen(fold, digest, name=name, pinned=name is not None) if snapshot else None
        steps, self._made = self._made, []
        self.home.ledger.commit(steps, cursor=cursor, memory=fold.changed, digest=digest, snapshot=row)
        self._committed, fold.changed = cursor, {}
        if snapshot:
            self._tidy()

    def snapshot(self, name: str | None) -> SnapshotRow:
        """Keep the state of this step. Raises ConfigError where it is kept under another name."""
        newest, k = self.home.snapshots.list()[0], self.fold.k
        if newest.k == k:
            if name in (None, newest.name):
                return newest
            if newest.name is not None:
                raise ConfigError(f"step {k} is kept already, as {newest.name}; use that name")
        self.commit(snapshot=True, name=name)
        return self.home.snapshots.list()[0]

    def _tidy(self) -> None:
        """Keep the disk within what the settings allow."""
        home, settings = self.home, self._settings
        whole = settings.journal_max_age is None and settings.journal_max_bytes is None
        home.snapshots.collect(settings.keep_snapshots, genesis=whole)
        if self.fold.k > settings.keep_steps:
            home.ledger.prune(steps_before=self.fold.k - settings.keep_steps)
        if whole:
            return
        held = {*self.fold.memory.values(), *self.fold.cursor.pending}
        home.journal.prune(
            through=Cursor.of(home.snapshots.list()[-1].cursor).seq,
            max_age_s=settings.journal_max_age,
            max_bytes=settings.journal_max_bytes,
            pinned=lambda seq: seq in held or self.fold.cursor.is_aside(seq),
        )

    def _return(self, place: Place) -> None:
        """Go back to a snapshot at or before a place; the walk goes on from there."""
        rows = [row for row in self.home.snapshots.list() if Cursor.of(row.cursor).place <= place]
        self._rewind(recovery.sound(self.home, rows))

    def _roll_back(self, step: Step, verdict: Verdict) -> None:
        """Order that the rows since the last good snapshot be learned again, at half the rate."""
        good = [row for row in self.home.snapshots.list() if row.k < step.k - verdict.back]
        if not good:
            return
        place = Cursor.of(good[0].cursor).place
        body = {"seq": place[0], "done": place[1]}
        before = [order.plain() for order in _commands(self.home.journal, 0) if order.kind == "rollback"]
        if sum({name: one[name] for name in body} == body for one in before) < TRIES:
            rate = {"learning_rate": self.fold.learner.config.learning_rate / 2, "asked": self._asked_rate()}
            self.order("rollback", {**body, **rate, "reason": verdict.reason})

    def _rewind(self, row: SnapshotRow) -> None:
        self.fold = fold = recovery.load(self.home, self._make, row)
        self.exact = recovery.same_machine(row)
        self._committed = fold.cursor.to_plain()
        self._made = []
        digest = fold.learner.digest()
        self.home.ledger.rewind(row.k, cursor=self._committed, memory=fold.memory, digest=digest)
        self.home.snapshots.collect(self._settings.keep_snapshots, durable=True)

    def heed(self) -> int | None:
        """Answer the `forget` orders not answered yet; the step gone back to, or None where none saw them."""
        ledger = self.home.ledger
        cursor = Cursor.of(ledger.head.cursor)
        orders = [order for order in _commands(self.home.journal, cursor.obeyed) if order.kind == "forget"]
        if not orders:
            return None
        seqs = {seq for order in orders for seq in order.plain()["seqs"]}
        rebuilt = None
        if recovery.saw(cursor, seqs):
            self._rewind(recovery.unseen(self.home, seqs))
            rebuilt, cursor = self.fold.k, self.fold.cursor
        else:
            self.home.snapshots.collect(self._settings.keep_snapshots, durable=True)
        cursor.obeyed = orders[-1].seq
        ledger.commit([], cursor=cursor.to_plain(), digest=ledger.head.digest)
        ledger.database.truncate()
        return rebuilt

    def turn(self) -> None:
        """Carry out a reset or rollback that a crash cut short, so that what is asked next comes after it."""
        steps = self.steps()
        while self.fold.agenda.returning and next(steps, None) is not None:
            pass
        self.commit()


def _commands(journal: Journal, after: int) -> Iterator[Entry]:
    while news := journal.commands(after=after):
        yield from news
        after = news[-1].seq
