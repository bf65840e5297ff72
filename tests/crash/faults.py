"""A disk that refuses: EIO or ENOSPC at every operation, once or from then on.

Whoever is refused gets one clear error; the home is read-only from then on, what was acknowledged is intact
when it is opened on a healthy disk, and the story goes on from there to the same end.
"""

from __future__ import annotations

import errno
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tenuto.errors import OutOfSpace, StoreError
from tenuto.session import Session
from tests.crash import client, forks
from tests.crash.acts import example
from tests.crash.client import Client
from tests.crash.kills import Rig, figures, recover, spaced
from tests.crash.promises import Fault
from tests.crash.stories import Story
from tests.crash.taps import Op, Tap, Tapped

GROWS = {"write", "create", "mkdir", "rename"}
"""What a full disk refuses; the rest it carries out."""


class Refusal(NamedTuple):
    """One refusal.

    Args:
        story: which.
        number: of the operation, from 0.
        code: EIO or ENOSPC.
        lasting: every later one is refused as well.
        share: of a write's bytes that are written before it.
    """

    story: int
    number: int
    code: int
    lasting: bool
    share: float


class Refuser(Tap):
    """Refuses one operation, or all from one on."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal, self._left = refusal, refusal.number
        self.refused = 0

    def __call__(self, op: Op, do: Callable[[bytes], Any]) -> Any:
        self._left -= 1
        refusal = self._refusal
        fits = op.kind in GROWS or refusal.code == errno.EIO
        if self._left >= 0 or not fits or (self.refused and not refusal.lasting):
            return do(op.data)
        self.refused += 1
        if op.kind == "write":
            do(op.data[: int(len(op.data) * refusal.share)])
        raise OSError(refusal.code, os.strerror(refusal.code))


def try_(rig: Rig, refusal: Refusal, folder: Path) -> dict[str, Any]:
    """Refuse, reopen on a healthy disk, play on: what happened, as plain data."""
    story, home = rig.stories[refusal.story], folder / "home"
    client.copy(rig.homes / str(refusal.story), home)
    refuser, acknowledged = Refuser(refusal), [0]
    outcome = ""

    def life() -> list[Fault]:
        nonlocal outcome
        outcome, faults = _live(story, home, refuser, acknowledged)
        return faults + client.finish(story, home, acknowledged[-1], rig.endings[refusal.story])

    faults = recover(life)
    what = f"{story.name} {tuple(refusal[1:])}, {rig.kinds[refusal.story][refusal.number]}"
    return {"what": what, "outcome": outcome if refuser.refused else "unmet", "faults": faults}


def run(stories: list[Story], count: int, *, workers: int, seed: int = 0) -> dict[str, Any]:
    """Try `count` refusals, evenly spread; the figures."""
    draw = random.Random(seed)
    with forks.room() as name:
        rig = Rig.of(stories, Path(name))
        every = [(story, number) for story, kinds in enumerate(rig.kinds) for number in range(len(kinds))]
        refusals = [
            Refusal(*point, draw.choice((errno.EIO, errno.ENOSPC)), draw.random() < 0.5, draw.random())
            for point in spaced(every, count, draw)
        ]

        def work(refusal: list[Any], folder: Path) -> dict[str, Any]:
            return try_(rig, Refusal(*refusal), folder)

        found = list(forks.spread(refusals, work, workers, Path(name)))
    outcomes = Counter(tried["outcome"] for tried in found)
    return {
        "refusals": sum(outcomes.values()) - outcomes["unmet"],
        "answered": outcomes["refused"],
        "absorbed": outcomes["absorbed"],
        **figures((tried["what"], tried["faults"]) for tried in found),
    }


def _live(story: Story, home: Path, tap: Tap, acknowledged: list[int]) -> tuple[str, list[Fault]]:
    """Play until refused; how that was answered."""
    with Tapped(tap) as (vfs, disk):
        player = Client(story, home, vfs=vfs, disk=disk)
        faults: list[Fault] = []
        try:
            player.play(story.acts, 0, acknowledged.append, player.open(), again=False)
            outcome = "absorbed"
        except StoreError:
            outcome = "refused"
        except Exception as error:
            outcome, faults = "refused", [Fault("unclear", f"{type(error).__name__}: {error}")]
        session = player.session
        if session is not None:
            faults += _read_only(session) if outcome == "refused" else []
            try:
                session.close()
            except StoreError as error:
                faults += [] if isinstance(error, OutOfSpace) else [Fault("unclear", f"closing: {error}")]
    return outcome, faults


def _read_only(session: Session) -> list[Fault]:
    """A refused session takes nothing more, and says why."""
    if session.home.refusal is None:
        return [Fault("unclear", "the home does not know that it was refused")]
    try:
        session.ingest([example(999)])
    except OutOfSpace as error:
        return [] if "Free space" in str(error) else [Fault("unclear", str(error))]
    return [Fault("corrupt", "a home that was refused takes rows again")]
