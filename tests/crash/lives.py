"""kill -9 from outside, at any moment: a process learns a file, is killed and started again to the end.

Nothing stands between it and the system here: SQLite's own VFS with its shared memory, the real file calls.
"""

from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path
from typing import Any

from tenuto import open_stream
from tenuto.session import Session, recovery
from tenuto.store.home import Home
from tests.crash import client, forks
from tests.crash.acts import example
from tests.crash.kills import figures, recover
from tests.crash.promises import Fault, sound
from tests.crash.stories import CONFIG, SETTINGS, replace

ROWS = 240
SETTINGS = replace(SETTINGS, ingest_rows=7)
SHARE = 25
"""Kills of one job."""
WAIT = 0.12
"""Seconds that a life lasts at most."""


def write(path: Path, seed: int) -> None:
    """A stream of rows as JSON lines."""
    rows = [example(1000 * seed + n) for n in range(ROWS)]
    lines = [json.dumps({"id": row.id, "input": row.input.tolist(), "target": row.target}) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def learn(stream: Path, home: Path, say: forks.Say) -> None:
    """Learn the file from where the home left it."""
    with Session(home, config=CONFIG, settings=SETTINGS) as session:
        session.learn(open_stream(stream), on_progress=lambda progress: say(str(progress.rows).encode()))
        say(session.learner.digest().encode())


def through(number: int, dice: random.Random, folder: Path) -> tuple[int, list[Fault]]:
    """Kill a learner again and again until it is through with its file; how often, and what was broken."""
    stream, home = folder / "stream.jsonl", folder / "home"
    write(stream, number)
    client.copy(folder / "nothing", home)
    expected = forks.live(lambda say: learn(stream, home, say)).said[-1]
    client.copy(folder / "nothing", home)
    faults: list[Fault] = []
    kills = read = 0
    while True:
        death = forks.live(lambda say: learn(stream, home, say), kill_after=dice.uniform(0, WAIT))
        if not death.killed:
            break
        kills += 1
        read = max([read, *(int(line) for line in death.said if len(line) < 64)])
        faults += recover(partial(_read, stream, home, read)) if read else []
    if not death.said or death.said[-1] != expected:
        faults.append(Fault("differs", f"after {kills} kills the learner ends elsewhere: {death}"))
    return kills, faults + _checked(home)


def run(count: int, *, workers: int, seed: int = 0) -> dict[str, Any]:
    """Kill at least `count` times, over as many streams as that takes; the figures."""
    shares = range(max(1, count // SHARE))

    def work(share: int, folder: Path) -> dict[str, Any]:
        dice = random.Random(f"{seed}:{share}")
        kills, found, streams = 0, list[Fault](), 0
        while kills < min(SHARE, count):
            died, faults = through(streams, dice, folder)
            kills, streams, found = kills + died, streams + 1, found + faults
        return {"what": f"share {share}", "kills": kills, "streams": streams, "faults": found}

    with forks.room() as name:
        done = list(forks.spread(shares, work, workers, Path(name)))
    return {
        "lives": sum(tried["kills"] for tried in done),
        "streams": sum(tried["streams"] for tried in done),
        **figures((tried["what"], tried["faults"]) for tried in done),
    }


def _read(stream: Path, home: Path, read: int) -> list[Fault]:
    """Is every acknowledged row there, for whoever looks at the home as the kill left it?"""
    with Home.view(home) as view:
        source = view.journal.source(stream.name)
        held = 0 if source is None else source.offset
        if held >= read and view.journal.counts()["live"] == held:
            return []
    return [Fault("lost", f"{read} rows were acknowledged, {held} are there")]


def _checked(home: Path) -> list[Fault]:
    faults = sound(home)
    with Session(home) as session:
        if not recovery.verify(session.home, session._make).holds:
            faults.append(Fault("differs", "the log does not verify"))
    return faults
