"""Power cuts: at every operation of a story the power may go, and what was acknowledged must be there.

A story is lived once behind a tap that writes every operation down, with the acknowledgements between them.
Then, for every point of that record, images of what a disk may hold are drawn (`volume`), laid out as files,
and opened by the store itself.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenuto.errors import HomeMissing, StoreError
from tenuto.store.home import Home
from tenuto.store.integrity import check
from tests.crash import client, forks
from tests.crash.client import Ending
from tests.crash.kills import Rig, figures, recover
from tests.crash.promises import Fault, Promise, kept, promised, traces
from tests.crash.stories import Story
from tests.crash.taps import Op, Tap
from tests.crash.volume import Image, Volume

HOME = "home"
BASES = ("ingest.db", "state.db")
WHOLE = 100
"""Of so many images one goes through a session to the story's end."""


class Recorder(Tap):
    """Writes down every operation that was carried out, by its path below a folder."""

    def __init__(self, root: Path) -> None:
        self.trace: list[Op] = []
        self._root = str(root) + os.sep

    def __call__(self, op: Op, do: Callable[[bytes], Any]) -> Any:
        done = do(op.data)
        self.trace.append(op._replace(path=self._below(op.path), to=self._below(op.to)))
        return done

    def acknowledge(self, number: int) -> None:
        """The first `number` acts were acknowledged."""
        self.trace.append(Op("acknowledge", "", number))

    def _below(self, path: str) -> str:
        return (path + os.sep).removeprefix(self._root).rstrip(os.sep)


class Shelf:
    """Lays images out as files, writing only what differs from the image before."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._laid: Image = {}

    def lay(self, image: Image) -> None:
        """Make the folder hold this image."""
        for path in self._laid.keys() - image.keys():
            (self.root / path).unlink(missing_ok=True)
        for base in BASES:
            for ending in ("-wal", "-shm", "-journal"):
                (self.root / HOME / (base + ending)).unlink(missing_ok=True)
        for path, data in image.items():
            if self._laid.get(path) is not data or os.path.basename(path).startswith(BASES):
                file = self.root / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
        self._laid = image

    def empty(self) -> None:
        """Start afresh: something else has changed the files."""
        shutil.rmtree(self.root, ignore_errors=True)
        self._laid = {}


@dataclass(frozen=True)
class Saw:
    """Cuts one story's record at many points, and opens what is left.

    Args:
        home: before the story; missing where the story makes it.
        expected: how the story ends undisturbed.
    """

    story: Story
    home: Path
    expected: Ending

    def run(self, numbers: range, count: int, seed: int, folder: Path) -> dict[str, Any]:
        """Try these of `count` cuts, evenly spaced over the record; the figures."""
        shutil.rmtree(folder)
        trace = record(self.story, self.home, folder / HOME)
        volume, shelf = Volume(*held(self.home, HOME)), Shelf(folder / "image")
        applied = acknowledged = whole = 0
        faults: list[tuple[str, Fault]] = []
        for number in numbers:
            while applied <= number * len(trace) // count:
                op = trace[applied]
                if op.kind == "acknowledge":
                    acknowledged = op.at
                else:
                    volume.apply(op)
                applied += 1
            draw = random.Random(f"{seed}:{number}")
            shelf.lay(volume.survive(draw))
            if draw.randrange(WHOLE):
                found = self._open(shelf.root / HOME, acknowledged)
            else:
                whole += 1
                found = recover(
                    lambda: client.finish(self.story, shelf.root / HOME, acknowledged, self.expected)
                )
                shelf.empty()
            faults += [
                (f"{self.story.name} cut {number} of {count}, {op.kind} {op.path}", fault)
                for fault in found[:1]
            ]
        return {"cuts": len(numbers), "whole": whole, "faults": faults}

    def _open(self, home: Path, acknowledged: int) -> list[Fault]:
        promise = self._promise(acknowledged)
        try:
            with Home.open(home) as opened:
                faults = kept(opened, promise, pruned=self.story.prunes)
                faults += [Fault("damaged", f"{f.file}: {f.problem}") for f in check(opened)]
        except HomeMissing as error:
            return [Fault("lost", str(error))] if acknowledged or self.story.prelude else []
        except StoreError as error:
            return [Fault("corrupt", f"{type(error).__name__}: {error}")]
        return faults + traces(home, promise.gone.values(), labels=self.story.grows, index=False)

    def _promise(self, acknowledged: int) -> Promise:
        return promised(self.story.whole, len(self.story.prelude) + acknowledged)


def record(story: Story, old: Path, home: Path) -> list[Op]:
    """Live a story in a copy of its home; every operation and acknowledgement of it."""
    client.copy(old, home)
    recorder = Recorder(home.parent)
    client.live(story, home, recorder, recorder.acknowledge)
    return recorder.trace


def held(home: Path, name: str) -> tuple[Image, list[str]]:
    """The files of a home and its folders, under another name."""
    paths = [home, *home.rglob("*")] if home.exists() else []
    below = {path: str(Path(name) / path.relative_to(home)) for path in paths}
    files = {below[path]: path.read_bytes() for path in paths if path.is_file()}
    return files, [below[path] for path in paths if path.is_dir()]


def run(stories: list[Story], count: int, *, workers: int, seed: int = 0) -> dict[str, Any]:
    """Try `count` cuts over all the stories; the figures."""
    with forks.room() as name:
        rig = Rig.of(stories, Path(name))
        share = -(-count // len(stories))
        size = max(1, min(1000, share // workers))
        jobs = [
            (story, first, min(size, share - first))
            for story in range(len(stories))
            for first in range(0, share, size)
        ]

        def work(job: tuple[int, int, int], folder: Path) -> dict[str, Any]:
            story, first, length = job
            saw = Saw(stories[story], rig.homes / str(story), rig.endings[story])
            return saw.run(range(first, first + length), share, seed, folder)

        done = list(forks.spread(jobs, work, workers, Path(name)))
    return {
        "cuts": sum(part["cuts"] for part in done),
        "whole": sum(part["whole"] for part in done),
        "stories": len(stories),
        **figures((what, [fault]) for part in done for what, fault in part["faults"]),
    }
