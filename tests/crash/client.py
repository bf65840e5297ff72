"""A client plays a story; after a crash it opens what is left, finds every promise kept, and plays on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tenuto.session import Session, recovery
from tenuto.store import database
from tenuto.store.disk import Disk
from tests.crash.acts import Act, Reopen
from tests.crash.promises import Fault, kept, promised, same_memory, sound, traces
from tests.crash.stories import Story
from tests.crash.taps import Tap, Tapped


@dataclass(frozen=True)
class Ending:
    """How an undisturbed story ends."""

    digest: str
    examples: int


class Client:
    """Opens one home, through a tap or directly.

    Args:
        story: what it plays.
        home: where.
        acknowledged: acts of the story that were, before this client came.
        vfs, disk: the doors to the files; None: the real ones.
    """

    def __init__(
        self,
        story: Story,
        home: Path,
        acknowledged: int = 0,
        *,
        vfs: str | None = None,
        disk: Callable[[], Disk] | None = None,
    ) -> None:
        self.story = story
        self.home = home
        self.config = story.config
        self.session: Session | None = None
        self._vfs, self._disk = vfs, disk
        for act in story.acts[:acknowledged]:
            self._heed(act)

    def open(self) -> Session:
        """A session on the home, made where it is missing."""
        self.session = None
        with patch.object(database, "LOG_PAGES", self.story.log_pages):
            self.session = Session(
                self.home,
                None if self.story.model is None else self.story.model(),
                config=self.config,
                method=self.story.method,
                settings=self.story.settings,
                vfs=self._vfs,
                disk=None if self._disk is None else self._disk(),
            )
        return self.session

    def play(
        self,
        acts: tuple[Act, ...],
        first: int,
        done: Callable[[int], object],
        session: Session,
        *,
        again: bool,
    ) -> Session:
        """Play acts from the `first` on, telling the number of each that was acknowledged.

        Args:
            again: the first one may have been under way before.
        """
        for number, act in enumerate(acts[first:], start=first + 1):
            if isinstance(act, Reopen):
                self.session = None
                session.close()
                self._heed(act)
                session = self.open()
                done(number)
            else:
                self.perform(act, session, partial(done, number), again and number == first + 1)
        return session

    def perform(self, act: Act, session: Session, tell: Callable[[], object], again: bool) -> None:
        """Do one act, then tell that it was acknowledged."""
        (act.again if again else act.do)(session)
        tell()

    def _heed(self, act: Act) -> None:
        if isinstance(act, Reopen) and act.learning_rate is not None:
            self.config = replace(self.config, learning_rate=act.learning_rate)


def live(
    story: Story, home: Path, tap: Tap, done: Callable[[int], object], first: int = 0, *, again: bool = False
) -> None:
    """One life of the home behind a tap, from the `first` act on to the end."""
    with Tapped(tap) as (vfs, disk):
        life(Client(story, home, first, vfs=vfs, disk=disk), done, first, again=again)


def life(client: Client, done: Callable[[int], object], first: int = 0, *, again: bool = False) -> None:
    """Open, play the story's acts, close."""
    session = client.open()
    try:
        session = client.play(client.story.acts, first, done, session, again=again)
    finally:
        session.close()


def prepare(story: Story, home: Path) -> None:
    """Live the prelude."""
    if story.prelude:
        client = Client(story, home)
        client.play(story.prelude, 0, lambda _: None, client.open(), again=False).close()


def copy(old: Path, new: Path) -> None:
    """Another copy of a closed home, in place of what was there."""
    shutil.rmtree(new, ignore_errors=True)
    if old.exists():
        shutil.copytree(old, new)


def ending(story: Story, home: Path) -> dict[str, Any]:
    """Play a story undisturbed; how it ends, as plain data."""
    client = Client(story, home)
    session = client.play(story.acts, 0, lambda _: None, client.open(), again=False)
    found = {"digest": session.learner.digest(), "examples": session.learner.stats.examples}
    session.close()
    return found


def finish(
    story: Story, home: Path, acknowledged: int, expected: Ending, *, verify: bool = False
) -> list[Fault]:
    """Recover a home, check it, play on to the end; every promise that was broken.

    Args:
        acknowledged: acts of the story that were.
        verify: also run the whole log again.
    """
    promise = promised(story.whole, len(story.prelude) + acknowledged)
    client = Client(story, home, acknowledged)
    session = client.open()
    try:
        faults = kept(session.home, promise, pruned=story.prunes) + same_memory(session)
        if not session.exact:
            faults.append(Fault("differs", "the machine that recovers is said to be another"))
        status = {session.home.journal.lookup(id) for id in promise.going}
        forgotten = any(entry is not None and entry.status == "forgotten" for entry in status)
        gone = {**promise.gone, **(promise.going if forgotten else {})}
        faults += traces(home, gone.values(), labels=story.grows, index=False)
        session = client.play(story.acts, acknowledged, lambda _: None, session, again=True)
        learner = session.learner
        found = Ending(learner.digest(), learner.stats.examples)
        if found != expected:
            faults.append(Fault("differs", f"the story ends with {found} instead of {expected}"))
        if verify and not recovery.verify(session.home, session._make).holds:
            faults.append(Fault("differs", "the log does not verify"))
    finally:
        session.close()
    end = promised(story.whole, len(story.whole))
    return faults + sound(home) + traces(home, end.gone.values(), labels=story.grows, index=False)
