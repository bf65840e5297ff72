"""What a run of learning shows while it goes on, and what is told of it in the end.

The measuring is bounded: at most a twentieth of the time goes into asking the learner what it kept.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenuto.consolidation import ConsolidationScheduler
    from tenuto.session import Progress, Session
    from tenuto.store.records import Step
    from tenuto.types import Batch

PAUSE = 1.0
"""Seconds between two looks at what was kept, at least."""
SHARE = 20
"""A look's cost times this passes before the next."""


@dataclass(slots=True)
class Meter:
    """Counts what a run did and measures what was kept.

    Args:
        session: the one that learns.
        holdout: rows that are never learned, to be asked; None: none.
        started: when it began, in seconds of the monotonic clock.
        source, read, total: the part of the stream being read, and how far.
        seen, right, answered: rows learned; of those with an answer before, how many were right.
        accepted, duplicates, quarantined, forgotten: what became of the rows read.
        retention: the share still answered right of rows drawn from all learned.
        held: the same of the holdout; under regression its mean squared error.
        rests: consolidations that a clock called for, by cause.
    """

    session: Session
    holdout: Batch | None = None
    started: float = field(default_factory=time.monotonic)
    source: str = ""
    read: int = 0
    total: int | None = None
    steps: int = 0
    seen: int = 0
    right: int = 0
    answered: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    forgotten: int = 0
    retention: float | None = None
    held: float | None = None
    rests: Counter[str] = field(default_factory=Counter)
    ended: float | None = None
    _next: float = 0.0

    def step(self, step: Step) -> None:
        """Count a step; now and then look at what was kept."""
        self.steps += 1
        self.seen += step.rows
        if step.correct is not None:
            self.right += step.correct
            self.answered += step.rows
        if time.monotonic() >= self._next:
            self.look()

    def chunk(self, progress: Progress) -> None:
        """Count what became of a chunk of the stream."""
        self.source, self.read, self.total = progress.source, progress.rows, progress.total
        receipt = progress.receipt
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        self.quarantined += receipt.quarantined
        self.forgotten += receipt.forgotten

    def rest(self, clock: ConsolidationScheduler, now: float, on_step: Callable[[Step], None]) -> None:
        """Let the session rest where the clock calls for it."""
        if reason := self.session.rest(clock, now, on_step):
            self.rests[reason.cause] += 1

    def look(self) -> None:
        """Ask the learner again about what it learned, and about the holdout."""
        from tenuto.studies.retention import accuracy, retention, squared_error

        begun = time.monotonic()
        self.retention = retention(self.session)
        if self.holdout is not None and self.session.learner.shape is not None:
            measure = squared_error if self.numbers else accuracy
            self.held = measure(self.session, self.holdout)
        ended = time.monotonic()
        self._next = ended + max(PAUSE, SHARE * (ended - begun))

    def stop(self) -> None:
        """Learning has ended: look a last time."""
        self.ended = time.monotonic()
        self.look()

    def told(self) -> dict[str, Any]:
        """What the run did, as plain data."""
        return {
            "source": self.source,
            "read": self.read,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "quarantined": self.quarantined,
            "forgotten": self.forgotten,
            "rows": self.seen,
            "steps": self.steps,
            "seconds": self.seconds,
            "rows_per_second": self.rate,
            "loss": self.loss,
            "rests": dict(self.rests),
            "progressive_accuracy": self.progressive,
            "retention": self.retention,
            "holdout_error" if self.numbers else "holdout": self.held,
        }

    @property
    def numbers(self) -> bool:
        """Are answers numbers, which are neither right nor wrong?"""
        return self.session.learner.config.task == "regression"

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return (self.ended or time.monotonic()) - self.started

    @property
    def rate(self) -> float:
        """Rows learned per second."""
        return self.seen / max(self.seconds, 1e-9)

    @property
    def progressive(self) -> float | None:
        """The share of rows answered right just before they were learned."""
        return self.right / self.answered if self.answered else None

    @property
    def loss(self) -> float | None:
        """The running loss, in nats."""
        return self.session.learner.stats.running_loss
