"""The session: streams -> journal -> learner -> ledger, so that nothing acknowledged is ever lost.

A row is acknowledged once it is durable in the journal. The learner's side is committed in groups;
what a crash cut off is derived again from the newest snapshot and the journal, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from tenuto.config import OnlineLearnerConfig, SessionConfig
from tenuto.errors import ConfigError, ExampleError
from tenuto.learner import Learner
from tenuto.models.weights import read
from tenuto.protocols import Scheduler
from tenuto.reports import Reason
from tenuto.session import oversight, recovery
from tenuto.session.blueprint import agree, begun, plain
from tenuto.session.fold import Fold
from tenuto.session.intake import Intake
from tenuto.session.provenance import Answers, By, recalled
from tenuto.session.reports import Forgotten, Progress
from tenuto.session.retiring import retire
from tenuto.session.screen import screen
from tenuto.session.walk import Walk
from tenuto.store.disk import Disk
from tenuto.store.records import Receipt, SnapshotRow, Step
from tenuto.streams import Stream
from tenuto.types import Batch, OnlineExample, Prediction

OnStep = Callable[[Step], None] | None


class Session:
    """A learner with a home: learns from streams, survives kill -9, forgets on request.

    Args:
        path: the home's directory; made when missing, resumed when there.
        model: a module, a model's name (`mlp:400-400`, `package.module:function`), or None for the default.
        config: the learner's settings, or a mapping of some; the others are the home's own, or the defaults.
        method, options: the method and its options; None: the home's own, or "er".
        weights: what a new home begins from: named tensors, or a `.safetensors` file; not read again.
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
        weights: Mapping[str, Tensor] | str | Path | None = None,
        settings: SessionConfig | Mapping[str, Any] | None = None,
        vfs: str | None = None,
        disk: Disk | None = None,
    ) -> None:
        given = None if weights is None else read(weights)
        self.home, made = agree(path, model, config, method, options, settings, given, vfs=vfs, disk=disk)
        try:
            self.settings, self._make = made.settings, made.maker(model)
            self._walk = Walk(self.home, self.settings, self._make, partial(begun, self._make, given))
            self._walk.screen = screen(self.home.journal, self.learner, self.settings)
            self._intake = Intake(self.home.journal, self.learner)
            self._walk.configure(plain(config))
        except BaseException:
            self.home.close()
            raise

    @property
    def fold(self) -> Fold:
        """The learner and its place in the journal."""
        return self._walk.fold

    @property
    def way(self) -> Walk:
        """The walk through the journal, for what orders steps of its own."""
        return self._walk

    @property
    def exact(self) -> bool:
        """Does the learner come back bit for bit on this machine?"""
        return self._walk.exact

    @property
    def learner(self) -> Learner:
        """The learner, in the state of the last step made."""
        return self.fold.learner

    @property
    def k(self) -> int:
        """Steps made so far."""
        return self.fold.k

    def learn(
        self,
        stream: Stream,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        on_step: OnStep = None,
        flush: bool = True,
    ) -> int:
        """Learn a stream from where this home left it, and what waits in the journal; the rows read.

        Args:
            stream: from `tenuto.streams.open_stream`.
            on_progress, on_step: called after each chunk, and each step. What the latter raises stops the
                learning between two steps, with those made to be committed by `close`.
            flush: learn an incomplete last batch too.

        Raises StreamError: it cannot be read, or is not the stream this home has read before. ExampleError: a
        bad row, under `strict`; the rows before it are learned.
        """
        self.run(on_step)
        read, chunks = 0, self._intake.stream(stream, self.settings, counted=on_progress is not None)
        try:
            for progress in chunks:
                read += progress.read
                self._follow(on_step)
                if on_progress is not None:
                    on_progress(progress)
        except ExampleError:
            self._follow(on_step)
            raise
        if flush:
            self.flush(on_step)
        return read

    def ingest(self, examples: Sequence[OnlineExample] | Stream, *, source: str = "session") -> Receipt:
        """Acknowledge examples: durable on return, learned by the next `run`; a missing id: <source>:<n>."""
        return self._intake.given(examples, source, self.settings)

    def run(self, on_step: OnStep = None) -> int:
        """Learn every whole batch that waits in the journal; the steps made."""
        steps = self._follow(on_step)
        self._walk.commit()
        return steps

    def _follow(self, on_step: OnStep) -> int:
        made = 0
        for step in self._walk.steps():
            made += 1
            if on_step is not None:
                on_step(step)
        return made

    def walk(self) -> Iterator[Step]:
        """Learn what waits, yielding each step as it is made."""
        yield from self._walk.steps()
        self._walk.commit()

    def flush(self, on_step: OnStep = None) -> int:
        """Learn what waits, an incomplete batch too, and journal that the input ended; the steps made."""
        steps, journal = self.run(on_step), self.home.journal
        newest = journal.read(after=journal.last_seq - 1)
        if newest and newest[0].kind != "flush":
            journal.command("flush", {})
            steps += self.run(on_step)
        return steps

    def take(self, ids: Sequence[str], *, approved: bool = False) -> int:
        """Learn these rows, and then the backlog: corrections, or rows that lie aside; the steps made.

        Args:
            approved: a person vouches for them; no guard judges who sent them, and they take the place of
                approved answers that they contradict. Else such rows are held.

        Raises ConfigError: an id is not in the journal.
        """
        self._walk.take(ids, approved=approved)
        return self.run()

    @property
    def frozen(self) -> str:
        """Why no row is learned until `thaw` or `reset`; empty where rows are."""
        return self.fold.frozen

    def audit(self, held_out: Batch, every: int | None = None) -> None:
        """Ask the learner rows it never learns; its guard freezes it where it got worse.

        The answers are journaled, so that a replay needs no rows; a good audit takes a snapshot.

        Args:
            held_out: n >= 400 rows, the same every time; a group is those of one domain, or else label.
            every: ask every so many steps while this session is open; None: once, now, the backlog learned.

        Raises ConfigError: the learner has no guard that audits, or other rows were asked before.
        """
        audits = oversight.Audits(self.learner, held_out, every)
        if every is None:
            self.run()
            self._walk.audit(audits)
            self.run()
        else:
            self._walk.audits = audits

    def thaw(self) -> int:
        """Accept what the frozen learner lost, measure from here on, learn the backlog; the steps made."""
        if not self.frozen:
            raise ConfigError("the learner is not frozen")
        self._walk.order("thaw", {})
        return self.run()

    def retire(self, adapter: str) -> None:
        """Have a closed adapter answer no row from this step on. ConfigError: there is no such one."""
        retire(self._walk, adapter)

    def consolidate(self, reason: Reason | None = None, on_step: OnStep = None) -> SnapshotRow:
        """Learn what waits, let the learner consolidate, and take a snapshot; the journal has the reason."""
        self.flush(on_step)
        body = {} if reason is None else {"cause": reason.cause, "found": reason.found}
        self.home.journal.command("consolidate", body)
        self.run(on_step)
        return self.snapshot()

    def rest(self, scheduler: Scheduler, now: float, on_step: OnStep = None) -> Reason | None:
        """Consolidate where the scheduler, told what came since it was asked last, says that it is due at
        this time, in seconds; why, or None."""
        self._walk.tell(scheduler, now)
        reason = None if self.frozen else scheduler.due(now)
        if reason is not None:
            self.consolidate(reason, on_step)
            self._walk.tell(scheduler, now)
            scheduler.rested(now)
        return reason

    def predict(self, inputs: Any) -> Prediction:
        """Answers for rows (n, *shape); nothing changes. Raises NothingLearned before the first row."""
        return self.learner.predict(inputs)

    def recall(self, query: Any, count: int = 5, *, by: By = "features") -> Answers:
        """What the learner's `recall` finds, with the ids of the entries that the rows came from."""
        return recalled(self.fold, self.home.journal, query, count, by)

    def snapshot(self, name: str | None = None) -> SnapshotRow:
        """Keep the state of this step; a named one stays. ConfigError: the name, or the step, is taken."""
        return self._walk.snapshot(name)

    def reset(self, snapshot: str | int | None = None) -> int:
        """Go back to a kept snapshot, by name or step; what was learned since is set aside. The step.

        None: where frozen, that of the last good audit, or else the newest before this step. Rows set aside
        stay in the journal: `take` learns them again. Raises ConfigError where there is no such snapshot.
        """
        place = oversight.place(self.home, snapshot, frozen=bool(self.frozen))
        if place < self.fold.cursor.place:
            self._walk.order("reset", {"seq": place[0], "done": place[1]})
            self.run()
        return self.k

    def forget(
        self,
        *,
        id: str | Sequence[str] | None = None,
        source: str | None = None,
        principal: str | None = None,
        on_step: OnStep = None,
    ) -> Forgotten:
        """Exact unlearning: rows and those derived from them are wiped, the model is one that never saw them.

        Rows of this id, source and principal, of one or any of several; `on_step` is told of each step made
        again. Raises ConfigError: nothing fits. OutOfReach: it was learned before the oldest kept snapshot.
        """
        self.run()
        erased = recovery.erase(self.home, self.fold.cursor, id=id, source=source, principal=principal)
        rebuilt = self._walk.heed()
        self.run(on_step)
        self.snapshot()
        gone = {"entries": erased.entries, "quarantined": erased.quarantined}
        return Forgotten(**gone, rebuilt_from=rebuilt, digest=self.learner.digest())

    def close(self) -> None:
        """Commit the steps made and let go of the home; a step broken off is made again when it is opened."""
        if self.home.refusal is None and self._walk.unfinished:
            self._walk.commit()
        self.home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
