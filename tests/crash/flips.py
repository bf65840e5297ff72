"""Bit flips: one bit of one file of a closed home is turned over.

Opening the home and going on either says that the home is corrupt, or ends as if nothing had happened: never
with another answer and no word about it.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tenuto.errors import StoreError
from tests.crash import client, forks
from tests.crash.kills import Rig, figures
from tests.crash.promises import Fault
from tests.crash.stories import Story


class Flip(NamedTuple):
    """One flip.

    Args:
        story: whose home.
        file: its path in it.
        bit: which, counted from the file's first.
    """

    story: int
    file: str
    bit: int


def draw(homes: list[Path], count: int, seed: int) -> list[Flip]:
    """`count` flips, every second one in a database; three of four in a byte that is not zero."""
    dice = random.Random(seed)
    held = [{str(path.relative_to(home)): path.read_bytes() for path in _files(home)} for home in homes]
    flips = []
    for number in range(count):
        story = dice.randrange(len(homes))
        files = [path for path in held[story] if path.endswith(".db") or number % 2]
        file = dice.choice(files)
        data = held[story][file]
        at = dice.randrange(len(data))
        if number % 4:
            at = dice.choice([n for n, byte in enumerate(data) if byte])
        flips.append(Flip(story, file, 8 * at + dice.randrange(8)))
    return flips


def _files(home: Path) -> list[Path]:
    return [path for path in sorted(home.rglob("*")) if path.is_file() and path.stat().st_size]


def try_(rig: Rig, flip: Flip, folder: Path) -> dict[str, Any]:
    """Flip, open, play on: what happened, as plain data."""
    story, home = rig.stories[flip.story], folder / "home"
    client.copy(rig.homes / str(flip.story), home)
    file = home / flip.file
    data = bytearray(file.read_bytes())
    data[flip.bit // 8] ^= 1 << flip.bit % 8
    file.write_bytes(data)
    outcome, faults = "harmless", []
    try:
        faults = client.finish(story, home, 0, rig.endings[flip.story])
        kinds = {fault.kind for fault in faults}
        if "damaged" in kinds and kinds <= {"damaged", "corrupt", "lost", "doubled"}:
            outcome, faults = "noticed", []
    except StoreError:
        outcome = "refused"
    except Exception as error:  # noqa: BLE001 - an error of another kind is the finding
        faults = [Fault("unclear", f"{type(error).__name__}: {error}")]
    return {"what": f"{story.name} {flip.file} bit {flip.bit}", "outcome": outcome, "faults": faults}


def run(stories: list[Story], count: int, *, workers: int, seed: int = 0) -> dict[str, Any]:
    """Try `count` flips; the figures."""
    stories = [story for story in stories if story.prelude]
    with forks.room() as name:
        rig = Rig.of(stories, Path(name))
        flips = draw([rig.homes / str(number) for number in range(len(stories))], count, seed)

        def work(flip: list[Any], folder: Path) -> dict[str, Any]:
            return try_(rig, Flip(*flip), folder)

        found = list(forks.spread(flips, work, workers, Path(name)))
    outcomes = Counter(tried["outcome"] for tried in found)
    return {
        "flips": len(found),
        **{outcome: outcomes[outcome] for outcome in ("refused", "noticed", "harmless")},
        **figures((tried["what"], tried["faults"]) for tried in found),
    }
