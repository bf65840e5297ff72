"""Kill points: SIGKILL at every operation of a process on its files, before it, within it, after it.

A child plays a story behind a tap that ends it at operation n; another opens what is left. A write that is
cut short leaves a prefix. Doubled kills end the recovery as well, a third child recovers from that. Where
no tap can be (SQLite's own VFS with its shared memory), a child is ended at the n-th line of the session's
and the store's code that it reaches.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import tenuto
from tests.crash import client, forks
from tests.crash.client import Client, Ending
from tests.crash.promises import Fault
from tests.crash.stories import Story
from tests.crash.taps import Op, Tap

CODE = tuple(str(Path(tenuto.__file__).parent / room) + os.sep for room in ("session", "store"))
SHOWN = 40
MOMENTS = ("before", "within", "after")


def die() -> NoReturn:
    """As kill -9 does it."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process that was killed goes on")


class Count(Tap):
    """Notes the kind of every operation, and on what kind of file."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def __call__(self, op: Op, do: Callable[[bytes], Any]) -> Any:
        self.kinds.append(f"{op.kind} {place(op.path)}")
        return do(op.data)


class Reaper(Tap):
    """Ends the process at one operation.

    Args:
        number: of the operation, from 0.
        moment: before, within (a write keeps a prefix) or after it.
        share: of a write's bytes that are written.
    """

    def __init__(self, number: int, moment: str, share: float) -> None:
        self._left, self._moment, self._share = number, moment, share

    def __call__(self, op: Op, do: Callable[[bytes], Any]) -> Any:
        self._left -= 1
        if self._left >= 0:
            return do(op.data)
        if self._moment == "after":
            do(op.data)
        elif self._moment == "within" and op.kind == "write":
            do(op.data[: int(len(op.data) * self._share)])
        return die()


class Lines:
    """Counts the lines of the session's and the store's code, and ends the process at one of them."""

    def __init__(self, number: int = -1) -> None:
        self.reached = 0
        self._number = number

    def __enter__(self) -> Lines:
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(CODE) else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            if self.reached == self._number:
                die()
            self.reached += 1
        return self._line


class Kill(NamedTuple):
    """One kill point.

    Args:
        story: which.
        number: of the operation, or of the line.
        moment: before, within, after, or line.
        share: of a write's bytes that are written.
        second: the operation of the recovery at which it dies too; -1: it lives.
    """

    story: int
    number: int
    moment: str
    share: float = 0.5
    second: int = -1


@dataclass(frozen=True)
class Rig:
    """Stories made ready: each with its home before, how it ends undisturbed, what it does to files."""

    stories: list[Story]
    homes: Path
    endings: list[Ending]
    kinds: list[list[str]]
    lines: list[int]

    @classmethod
    def of(cls, stories: list[Story], room: Path) -> Rig:
        """Live every prelude, and every story once undisturbed."""
        homes = room / "homes"
        homes.mkdir()
        endings, kinds, lines = [], [], []
        for number, story in enumerate(stories):
            home, trial = homes / str(number), room / "trial"
            forks.live(lambda _, story=story, home=home: client.prepare(story, home))
            client.copy(home, trial)
            endings.append(Ending(**forks.ask(lambda story=story: client.ending(story, trial))))
            client.copy(home, trial)
            kinds.append(forks.ask(lambda story=story: _kinds(story, trial)))
            client.copy(home, trial)
            lines.append(forks.ask(lambda story=story: _lines(story, trial)))
        return cls(stories, homes, endings, kinds, lines)

    def kills(self, count: int, seed: int) -> list[Kill]:
        """`count` kill points: every kind of operation, the rest spread evenly over all there are."""
        draw = random.Random(seed)
        every = [
            Kill(story, number, moment, draw.random())
            for story, kinds in enumerate(self.kinds)
            for number, kind in enumerate(kinds)
            for moment in MOMENTS
            if moment != "within" or kind.startswith("write")
        ]
        doubles, lines = count // 5, count // 10
        first = list({self.kind(kill): kill for kill in every}.values())
        plain = first + spaced(every, count - doubles - lines - len(first), draw)
        double = [
            kill._replace(second=draw.randrange(60), share=draw.random())
            for kill in spaced(every, doubles, draw)
        ]
        told = [Kill(story, n, "line") for story, top in enumerate(self.lines) for n in range(top)]
        return (plain + double + spaced(told, lines, draw))[:count]

    def kind(self, kill: Kill) -> str:
        """What a kill point hits."""
        return f"{kill.moment} {self.kinds[kill.story][kill.number]}"

    def name(self, kill: Kill) -> str:
        """A kill point in words."""
        what = "" if kill.moment == "line" else f", {self.kind(kill)}"
        return f"{self.stories[kill.story].name} {tuple(kill[1:])}{what}"

    def try_(self, kill: Kill, folder: Path) -> dict[str, Any]:
        """Kill, recover, play on: what happened, as plain data."""
        story, home = self.stories[kill.story], folder / "home"
        client.copy(self.homes / str(kill.story), home)
        deaths = 0

        def life() -> list[Fault]:
            nonlocal deaths
            died, acknowledged = killed(story, home, kill, 0, again=False)
            deaths += died
            if died and kill.second >= 0:
                again = Kill(kill.story, kill.second, MOMENTS[kill.second % 3], kill.share)
                died, acknowledged = killed(story, home, again, acknowledged, again=True)
                deaths += died
            verify = kill.number % 10 == 0
            return client.finish(story, home, acknowledged, self.endings[kill.story], verify=verify)

        faults = recover(life)
        return {"kill": kill, "deaths": deaths, "faults": faults}


def recover(work: Callable[[], list[Fault]]) -> list[Fault]:
    """The faults found; a recovery that breaks off is a fault itself."""
    try:
        return work()
    except Exception as error:
        return [Fault("corrupt", f"{type(error).__name__}: {error}")]


def figures(tried: Iterable[tuple[str, list[Any]]]) -> dict[str, Any]:
    """How many tries found which kind of fault, and the first few of them in words."""
    bad = [(what, Fault(*faults[0])) for what, faults in tried if faults]
    return {
        "faults": dict(Counter(fault.kind for _, fault in bad)),
        "found": [f"{what}: {fault.kind}: {fault.text}" for what, fault in bad[:SHOWN]],
    }


def place(path: str) -> str:
    """A file's part in the home."""
    name = os.path.basename(path)
    return name if name.startswith(("ingest.db", "state.db", "lock")) else "blobs"


def spaced(every: list[Any], count: int, draw: random.Random) -> list[Any]:
    """`count` of a list, evenly spread, from a random start; all of it where it is shorter."""
    if count >= len(every):
        return every
    start = draw.random() * len(every)
    return [every[int(start + n * len(every) / count) % len(every)] for n in range(max(0, count))]


def run(stories: list[Story], count: int, *, workers: int, seed: int = 0) -> dict[str, Any]:
    """Try `count` kill points; the figures."""
    with forks.room() as name:
        rig = Rig.of(stories, Path(name))
        kills = rig.kills(count, seed)
        kinds = {rig.kind(kill) for kill in kills if kill.moment != "line"}
        found = list(
            forks.spread(kills, lambda kill, folder: rig.try_(Kill(*kill), folder), workers, Path(name))
        )
    return {
        "kills": sum(tried["deaths"] > 0 for tried in found),
        "double": sum(tried["deaths"] > 1 for tried in found),
        "lines": sum(tried["deaths"] and tried["kill"][2] == "line" for tried in found),
        "points": sum(len(kinds) for kinds in rig.kinds),
        "kinds": len(kinds),
        "stories": len(stories),
        **figures((rig.name(Kill(*tried["kill"])), tried["faults"]) for tried in found),
    }


def killed(story: Story, home: Path, kill: Kill, first: int, *, again: bool) -> tuple[bool, int]:
    """Live until the kill; whether it came, and how many acts were acknowledged by then."""

    def work(say: forks.Say) -> None:
        def done(number: int) -> None:
            say(str(number).encode())

        if kill.moment == "line":
            with Lines(kill.number):
                client.life(Client(story, home, first), done, first, again=again)
        else:
            reaper = Reaper(kill.number, kill.moment, kill.share)
            client.live(story, home, reaper, done, first, again=again)

    death = forks.live(work)
    if not death.killed and death.code != 0:
        raise RuntimeError(f"{story.name} broke off by itself before {kill}")
    return death.killed, int(death.said[-1]) if death.said else first


def _kinds(story: Story, home: Path) -> list[str]:
    count = Count()
    client.live(story, home, count, lambda _: None)
    return count.kinds


def _lines(story: Story, home: Path) -> int:
    with Lines() as lines:
        client.life(Client(story, home), lambda _: None)
    return lines.reached
