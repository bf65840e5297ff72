"""The session: streams -> journal -> learner -> ledger, so that nothing acknowledged is ever lost.

A row is acknowledged once it is durable in the journal. The learner's side is committed in groups;
what a crash cut off is derived again from the newest snapshot and the journal, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import nn

from tenuto.config import OnlineLearnerConfig, SessionConfig
from tenuto.errors import ConfigError, StoreError, StreamError
from tenuto.learner import CHANGEABLE, Learner
from tenuto.session import recovery
from tenuto.session.blueprint import agree, plain
from tenuto.session.fold import Fold, environment
from tenuto.session.intake import Intake, listed
from tenuto.store.agenda import Cursor, Place, Return
from tenuto.store.disk import Disk
from tenuto.store.journal import Journal
from tenuto.store.records import Entry, Receipt, SnapshotRow, Step
from tenuto.streams import Stream
from tenuto.types import OnlineExample, Prediction


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a stream was learned.

    Args:
        source: the file or pipe being read.
        rows: rows read from it so far, in this and earlier runs.
        total: rows it holds, where that is known.
        receipt: what became of the newest chunk.
    """

    source: str
    rows: int
    total: int | None
    receipt: Receipt


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """What a forgetting did.

    Args:
        entries: journal entries whose content is gone, derived ones included.
        quarantined: quarantined rows that went with them.
        rebuilt_from: the step the model was rebuilt from; None where it had not seen them yet.
        digest: of the state that never saw them.
    """

    entries: int
    quarantined: int
    rebuilt_from: int | None
    digest: str


class Session:
    """A learner with a home: learns from streams, survives kill -9, forgets on request.

    Args:
        path: the home's directory; made when missing, resumed when there.
        model: a module, a model's name (`mlp:400-400`, `package.module:function`), or None for the default.
        config: the learner's settings, or a mapping of some of them; the others are the home's own, or
            the defaults.
        method, options: the method and its options; None: the home's own, or "er".
        settings: how the home is kept, likewise.
        vfs, disk: where the files go, for tests that cut the power.

    Raises:
        HomeLocked, HomeTooNew, CorruptHome, OutOfSpace, StoreError: the home cannot be used.
        ConfigError: it was made with other settings than the ones given.

    >>> import tempfile
    >>> with Session(Path(tempfile.mkdtemp()) / "home", method="er") as session:
    ...     rows = [OnlineExample(input=[i % 2, 1.0], target=i % 2, id=str(i)) for i in range(25)]
    ...     receipt, steps = session.ingest(rows), session.run()
    ...     receipt.accepted, steps, session.learner.stats.examples
    (25, 2, 20)
    """

    def __init__(
        self,
        path: str | Path,
        model: nn.Module | str | None = None,
        config: OnlineLearnerConfig | Mapping[str, Any] | None = None,
        *,
        method: str | None = None,
        options: Mapping[str, Any] | None = None,
        settings: SessionConfig | Mapping[str, Any] | None = None,
        vfs: str | None = None,
        disk: Disk | None = None,
    ) -> None:
        self.home, made = agree(path, model, config, method, options, settings, vfs=vfs, disk=disk)
        try:
            self.settings = made.settings
            self._make = made.maker(model)
            self._steps: list[Step] = []
            self._whole = True
            if not self.home.snapshots.list():
                self._genesis()
            self._heed()
            self.fold, self.exact = recovery.recover(self.home, self._make)
            self._committed = self.fold.cursor.to_plain()
            self._intake = Intake(self.home.journal, self.learner)
            self._turn()
            if config is not None:
                self._configure(config)
        except BaseException:
            self.home.close()
            raise

    @property
    def learner(self) -> Learner:
        """The learner, in the state of the last step made."""
        return self.fold.learner

    @property
    def k(self) -> int:
        """Steps made so far."""
        return self.fold.k

    # Learning ----------------------------------------------------------------------------------

    def learn(
        self,
        stream: Stream,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        on_step: Callable[[Step], None] | None = None,
        flush: bool = True,
    ) -> int:
        """Learn a stream from where this home left it, and what waits in the journal; the rows read.

        Args:
            stream: from `tenuto.streams.open_stream`.
            on_progress: called after each chunk.
            on_step: called after each step. What it raises stops the learning between two steps, with
                those made to be committed by `close`.
            flush: learn an incomplete last batch too.

        Raises:
            StreamError: it cannot be read, or is not the stream this home has read before.
            ExampleError: a bad row, under `strict`; the rows before it are learned.
        """
        self.run(on_step)
        read = 0
        for part in stream.parts:
            fingerprint, start = part.fingerprint(), self._offset(part)
            total = None if on_progress is None else part.rows
            skipped = 0 if fingerprint is None else start
            for chunk in part.chunks(skipped, self.settings.ingest_rows):
                chunk = chunk.after(start - skipped)
                try:
                    receipt = self._intake.chunk(chunk, fingerprint, strict=self.settings.strict)
                finally:
                    self._follow(on_step)
                read += len(chunk.rows)
                if on_progress is not None:
                    on_progress(Progress(source=part.name, rows=chunk.end, total=total, receipt=receipt))
        if flush:
            self.flush(on_step)
        return read

    def ingest(self, examples: Sequence[OnlineExample], *, source: str = "session") -> Receipt:
        """Acknowledge examples: durable on return, learned by the next `run`.

        A missing id becomes `<source>:<n>`, n counting this source's examples.
        """
        known = self.home.journal.source(source)
        chunk = listed(examples, source, 0 if known is None else known.offset)
        return self._intake.chunk(chunk, None, strict=self.settings.strict)

    def run(self, on_step: Callable[[Step], None] | None = None) -> int:
        """Learn every whole batch that waits in the journal; the steps made."""
        steps = self._follow(on_step)
        self._commit()
        return steps

    def _follow(self, on_step: Callable[[Step], None] | None) -> int:
        steps = 0
        for steps, step in enumerate(self._walk(), start=1):  # noqa: B007
            if on_step is not None:
                on_step(step)
        return steps

    def walk(self) -> Iterator[Step]:
        """Learn what waits, yielding each step as it is made; committed in groups."""
        yield from self._walk()
        self._commit()

    def _walk(self) -> Iterator[Step]:
        if not self._whole:
            raise StoreError("a step was broken off half-way; open the home again: it is then made anew")
        self.fold.agenda.listen()
        self._whole = False
        while (done := self.fold.advance()) is not None:
            if isinstance(done, Return):
                self._return(done.place)
                continue
            self._steps.append(done)
            self._whole = True
            if done.k % self.settings.snapshot_every == 0:
                self._commit(snapshot=True)
            elif len(self._steps) >= self.settings.commit_every:
                self._commit()
            yield done
            self._whole = False
        self._whole = True

    def flush(self, on_step: Callable[[Step], None] | None = None) -> int:
        """Learn what waits, an incomplete batch included; the steps made.

        The end of input is an entry even where no batch is incomplete: it would be one, were a row of
        an earlier batch forgotten.
        """
        steps, journal = self.run(on_step), self.home.journal
        newest = journal.read(after=journal.last_seq - 1)
        if newest and newest[0].kind != "flush":
            journal.command("flush", {})
            steps += self.run(on_step)
        return steps

    def take(self, ids: Sequence[str]) -> int:
        """Learn these rows, and then the backlog: corrections, or rows that were set aside; the steps made.

        Raises:
            ConfigError: an id is not in the journal.
        """
        found = {id: self.home.journal.lookup(id) for id in ids}
        for id, entry in found.items():
            if entry is None:
                self.home.journal.database.trust()
                raise ConfigError(f"there is no row {id!r} in the journal; ingest it first")
        seqs = [entry.seq for entry in found.values() if entry is not None]
        size = self.learner.config.batch_size
        for start in range(0, len(seqs), size):
            self._order("take", {"seqs": seqs[start : start + size]})
        return self.run()

    def consolidate(self) -> SnapshotRow:
        """Learn what waits, let the method close its context, and take a snapshot."""
        self.flush()
        self.home.journal.command("consolidate", {})
        self.run()
        return self.snapshot()

    def predict(self, inputs: Any) -> Prediction:
        """Answers for rows (n, *shape); nothing changes.

        Raises:
            NothingLearned: no row was learned yet.
        """
        return self.learner.predict(inputs)

    # Time travel -------------------------------------------------------------------------------

    def snapshot(self, name: str | None = None) -> SnapshotRow:
        """Keep the state of this step; a named snapshot stays whatever the retention.

        Raises:
            ConfigError: the name is taken or out of form, or this step is kept under another.
        """
        newest = self.home.snapshots.list()[0]
        if newest.k == self.k:
            if name in (None, newest.name):
                return newest
            if newest.name is not None:
                raise ConfigError(f"step {self.k} is kept already, as {newest.name}; use that name")
        self._commit(snapshot=True, name=name)
        return self.home.snapshots.list()[0]

    def reset(self, snapshot: str | int) -> int:
        """Go back to a kept snapshot, by name or step; what was learned since is set aside. The step.

        The rows set aside stay in the journal: `take` learns them again.

        Raises:
            ConfigError: there is no such snapshot.
        """
        row = self._kept(snapshot)
        place = Cursor.of(row.cursor).place
        if place < self.fold.cursor.place:
            self._order("reset", {"seq": place[0], "done": place[1]})
            self.run()
        return self.k

    def forget(
        self,
        *,
        id: str | None = None,
        source: str | None = None,
        principal: str | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> Forgotten:
        """Exact unlearning: the content is wiped from disk, the model is the one that never saw it.

        Rows derived from what is forgotten go too. The state is rebuilt from the last snapshot before
        the first of them.

        Args:
            id, source, principal: whose rows; several must all fit.
            on_step: called after each step that is made again.

        Raises:
            ConfigError: nothing fits.
            OutOfReach: it was learned before the oldest kept snapshot; nothing was changed.
        """
        journal = self.home.journal
        self.run()
        seqs = journal.descendants(journal.seqs(id=id, source=source, principal=principal))
        if seqs and recovery.saw(self.fold.cursor, seqs):
            recovery.unseen(self.home, seqs)
        wanted = id or source or principal
        erased = journal.erase(
            seqs, reason="asked", ids=() if id is None else (id,), source=source, principal=principal
        )
        if not erased.entries and not erased.quarantined:
            journal.database.trust()
            raise ConfigError(
                f"there is nothing of {wanted!r} to forget; it was never taken, or is forgotten"
            )
        rebuilt = self._heed()
        self.run(on_step)
        self.snapshot()
        return Forgotten(
            entries=erased.entries,
            quarantined=erased.quarantined,
            rebuilt_from=rebuilt,
            digest=self.learner.digest(),
        )

    # Keeping -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Commit the steps made and let go of the home. A step broken off half-way is made again when it is
        opened."""
        if self.home.refusal is None and self._steps and self._whole:
            self._commit()
        self.home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _genesis(self) -> None:
        learner, cursor = self._make(), Cursor()
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

    def _commit(self, *, snapshot: bool = False, name: str | None = None) -> None:
        fold, cursor = self.fold, self.fold.cursor.to_plain()
        if not (self._steps or snapshot or cursor != self._committed):
            return
        digest = fold.learner.digest()
        row = self._frozen(fold, digest, name=name, pinned=name is not None) if snapshot else None
        steps, self._steps = self._steps, []
        self.home.ledger.commit(steps, cursor=cursor, memory=fold.changed, digest=digest, snapshot=row)
        self._committed, fold.changed = cursor, {}
        if snapshot:
            self._tidy()

    def _tidy(self) -> None:
        """Keep the disk within what the settings allow."""
        home, settings = self.home, self.settings
        whole = settings.journal_max_age is None and settings.journal_max_bytes is None
        home.snapshots.collect(settings.keep_snapshots, genesis=whole)
        if self.k > settings.keep_steps:
            home.ledger.prune(steps_before=self.k - settings.keep_steps)
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

    def _rewind(self, row: SnapshotRow) -> None:
        self.fold = fold = recovery.load(self.home, self._make, row)
        self.exact = recovery.same_machine(row)
        self._committed = fold.cursor.to_plain()
        self._steps = []
        digest = fold.learner.digest()
        self.home.ledger.rewind(row.k, cursor=self._committed, memory=fold.memory, digest=digest)
        self.home.snapshots.collect(self.settings.keep_snapshots, durable=True)

    def _heed(self) -> int | None:
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
            rebuilt, cursor = self.k, self.fold.cursor
        else:
            self.home.snapshots.collect(self.settings.keep_snapshots, durable=True)
        cursor.obeyed = orders[-1].seq
        ledger.commit([], cursor=cursor.to_plain(), digest=ledger.head.digest)
        ledger.database.truncate()
        return rebuilt

    def _turn(self) -> None:
        """Carry out a reset that a crash cut short, so that what is asked next comes after it."""
        steps = self._walk()
        while self.fold.agenda.returning and next(steps, None) is not None:
            pass
        self._commit()

    def _configure(self, config: OnlineLearnerConfig | Mapping[str, Any]) -> None:
        mine, given = self.learner.config.to_plain(), plain(config)
        changes = {name: given[name] for name in CHANGEABLE if given.get(name, mine[name]) != mine[name]}
        if changes:
            self._order("config", changes)

    def _order(self, kind: str, body: Mapping[str, Any]) -> None:
        """Write a command that acts here and now, ahead of any backlog."""
        self.home.journal.command(kind, body, after=self.fold.cursor.seq)
        self.fold.agenda.listen()

    def _offset(self, part: Stream) -> int:
        """Where to go on reading a source; where to go on numbering the rows of a pipe."""
        known, fingerprint = self.home.journal.source(part.name), part.fingerprint()
        if known is None or (known.fingerprint is None and fingerprint is not None):
            return 0
        if fingerprint is None:
            return known.offset
        if not part.continues(known.fingerprint):
            raise StreamError(
                f"{part.name} is not the source this home has read {known.offset} rows of: its beginning "
                "changed; give the new one a name of its own with --source"
            )
        return known.offset

    def _kept(self, snapshot: str | int) -> SnapshotRow:
        rows = self.home.snapshots.list()
        for row in rows:
            if snapshot in (row.name, row.k, str(row.k)):
                return row
        known = ", ".join(row.name or str(row.k) for row in rows)
        raise ConfigError(f"there is no snapshot {snapshot!r}; kept are {known}")


def _commands(journal: Journal, after: int) -> Iterator[Entry]:
    while news := journal.commands(after=after):
        yield from news
        after = news[-1].seq
