"""Stories: what clients do to a home from its first row on, short enough to be killed at every point.

A story starts where its prelude ended: an earlier life of the home, lived once and copied. Its settings
make commits, snapshots and checkpoints of the log as frequent as its rows are few.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tenuto.config import OnlineLearnerConfig, SessionConfig
from tests.crash.acts import (
    Act,
    Audit,
    Consolidate,
    Flush,
    Forget,
    Ingest,
    Reopen,
    Reset,
    Run,
    Snapshot,
    Take,
    Thaw,
    example,
    lawfully,
    span,
)

CONFIG = OnlineLearnerConfig(hidden=(8,), memory_size=14, batch_size=4, learning_rate=0.05)
SETTINGS = SessionConfig(commit_every=3, snapshot_every=5, keep_snapshots=2)
CLASSES = (*(f"c{n}" for n in range(5)), *(f"secret-label-{n:03d}" for n in range(200)))


@dataclass(frozen=True, kw_only=True)
class Story:
    """A home's learner and settings, and what is done to it.

    Args:
        prelude: lived before, undisturbed.
        acts: lived under attack.
        model: makes the module a session is given; None: the default one.
        log_pages: pages after which SQLite checkpoints its log.
    """

    name: str
    acts: tuple[Act, ...]
    prelude: tuple[Act, ...] = ()
    config: OnlineLearnerConfig = CONFIG
    method: str = "er"
    settings: SessionConfig = field(default=SETTINGS)
    log_pages: int = 1000
    model: Callable[[], Any] | None = None

    @property
    def whole(self) -> tuple[Act, ...]:
        """Prelude and acts."""
        return self.prelude + self.acts

    @property
    def prunes(self) -> bool:
        """Does retention drop bodies of its journal?"""
        return self.settings.journal_max_bytes is not None

    @property
    def grows(self) -> bool:
        """Are labels named by rows alone, and not by the configuration?"""
        return self.config.head == "grow"


def birth() -> Story:
    """A home is made, learns, flushes and consolidates, sleeping as it does."""
    acts = (span(0, 6), Run(), span(6, 12), Run(), span(12, 17), Flush(), Consolidate(), span(17, 22), Run())
    return Story(name="birth", acts=acts, config=replace(CONFIG, sleep_updates=2))


def turn() -> Story:
    """Takes, a named snapshot, a way back to it, rows set aside learned after all, another rate."""
    return Story(
        name="turn",
        prelude=(span(0, 12), Run(), span(12, 21), Run()),
        acts=(
            span(21, 25),
            Run(),
            Snapshot("mark"),
            span(25, 33),
            Take(("r31",)),
            Run(),
            Reset("mark"),
            Take(("r26", "r29")),
            Reopen(learning_rate=0.1),
            span(33, 38),
            Flush(),
        ),
    )


def forget() -> Story:
    """Rows learned long ago, just now and not yet are forgotten, one with what derives from it."""
    early = Ingest((*span(0, 5).rows, example(100, secret=True), *span(5, 9).rows))
    late = Ingest((example(101, secret=True), *span(9, 12).rows, example(102, derived_from=("r101",))))
    other = Ingest((example(103, secret=True), example(104, secret=True)), source="other")
    return Story(
        name="forget",
        prelude=(early, Run(), span(12, 18), Run()),
        acts=(
            late,
            Run(),
            Forget(id="r101"),
            span(18, 21),
            Forget(id="r100"),
            other,
            Forget(source="other"),
            Flush(),
        ),
    )


def prune() -> Story:
    """The journal is kept within few bytes, so that bodies are dropped."""
    return Story(
        name="prune",
        prelude=(span(0, 12), Run(), span(12, 21), Run()),
        acts=(span(21, 33), Run(), Reopen(), span(33, 41), Run(), span(41, 45), Flush()),
        settings=replace(SETTINGS, journal_max_bytes=800, keep_snapshots=1, snapshot_every=4),
    )


def guarded() -> Story:
    """A rate is raised too far and rolled back from; what was known is lost, frozen for, and accepted."""
    return Story(
        name="guarded",
        prelude=(lawfully(0, 320), Run(), Audit(1)),
        acts=(
            Reopen(learning_rate=9.0),
            lawfully(320, 400, scale=10.0),
            Run(),
            Audit(2),
            lawfully(400, 406),
            Take(("r402",), once=True),
            Thaw(),
            Flush(),
        ),
        config=replace(
            CONFIG, hidden=(16,), memory_size=100, momentum=0.9, guard="finite+divergence+retention"
        ),
    )


STORIES: tuple[Callable[[], Story], ...] = (birth, turn, forget, prune, guarded)
SLEEP: dict[str, Any] = {"sleep_updates": 3, "consolidate_every": 7, "sampling": "prioritized"}
VARIANTS: tuple[Callable[[Story], Story], ...] = (
    lambda story: story,
    lambda story: replace(
        story, log_pages=12, method="derpp", config=replace(story.config, momentum=0.9, **SLEEP)
    ),
    lambda story: replace(story, method="joint", settings=replace(story.settings, commit_every=1)),
    lambda story: replace(
        story,
        method="lwf",
        config=replace(story.config, head="fixed", classes=CLASSES, sleep_updates=0),
        log_pages=30,
    ),
    lambda story: replace(
        story,
        config=replace(
            story.config,
            insertion="class_balanced",
            sampling="balanced",
            optimizer="adamw",
            learning_rate=0.01,
        ),
        settings=replace(story.settings, commit_every=2, snapshot_every=3),
        log_pages=20,
    ),
    lambda story: replace(story, config=replace(story.config, memory_size=20, passes=2, insertion="ring")),
    lambda story: replace(
        story, method="naive", config=replace(story.config, hidden=(), sleep_updates=0), log_pages=50
    ),
)


def stories(count: int) -> list[Story]:
    """The first `count` of all stories in all variants, variant by variant."""
    found = [vary(story()) for vary in VARIANTS for story in STORIES]
    return [
        replace(story, name=f"{story.name}-{number // len(STORIES)}") for number, story in enumerate(found)
    ][:count]
