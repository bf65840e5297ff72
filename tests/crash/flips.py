"""Bit flips: one bit of one file of a home is turned over, after it was closed or while it lay killed.

Opening the home and going on either says that it is damaged, or ends as if nothing had happened: never with
another answer and no word about it. One case no program can tell from a write that the kill cut short: a flip
in the very last transaction of the log that a killed process left. It is counted apart, and only that one
transaction may be missing.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tenuto.errors import StoreError
from tenuto.store.database import PAGE_BYTES
from tests.crash import client, forks
from tests.crash.kills import Kill, Rig, figures, killed
from tests.crash.promises import Fault
from tests.crash.stories import Story

NOTICED = {"damaged", "corrupt", "lost", "doubled"}
"""What the store's own check may find instead of refusing the home."""
LOG = "ingest.db-wal"


@dataclass(frozen=True)
class Patient:
    """A home whose bits are turned over.

    Args:
        story: its number in the rig.
        home: closed, or as a kill left it.
        acknowledged: acts by then.
    """

    story: int
    home: Path
    acknowledged: int


class Flip(NamedTuple):
    """One flip: whose home, which file of it, which bit from the file's first."""

    patient: int
    file: str
    bit: int


def patients(rig: Rig, room: Path) -> list[Patient]:
    """The homes after their preludes, closed; and each story killed at two moments, its log unchecked."""
    found = [Patient(n, rig.homes / str(n), 0) for n, story in enumerate(rig.stories) if story.prelude]
    for number, story in enumerate(rig.stories):
        for part in (5, 8):
            home = room / f"killed-{number}-{part}"
            client.copy(rig.homes / str(number), home)
            kill = Kill(number, len(rig.kinds[number]) * part // 10, "after")
            found.append(Patient(number, home, killed(story, home, kill, 0, again=False)[1]))
    return found


def draw(patients: list[Patient], count: int, seed: int) -> list[Flip]:
    """`count` flips: a third in each database, in each log, in any file; three of four in a byte in use."""
    dice = random.Random(seed)
    held = [{str(path.relative_to(p.home)): path.read_bytes() for path in _files(p.home)} for p in patients]
    flips = []
    for number in range(count):
        patient = dice.randrange(len(patients))
        wanted = (".db", "-wal", "")[number % 3]
        files = [path for path in held[patient] if path.endswith(wanted)] or [*held[patient]]
        file = dice.choice(files)
        data = held[patient][file]
        used = [at for at, byte in enumerate(data) if byte] if dice.randrange(4) else range(len(data))
        flips.append(Flip(patient, file, 8 * dice.choice(used) + dice.randrange(8)))
    return flips


def try_(rig: Rig, patient: Patient, flip: Flip, folder: Path) -> dict[str, Any]:
    """Flip, open, play on: what happened, as plain data."""
    story, home = rig.stories[patient.story], folder / "home"
    client.copy(patient.home, home)
    file = home / flip.file
    data = bytearray(file.read_bytes())
    last = flip.file == LOG and flip.bit // 8 >= _last(data)
    data[flip.bit // 8] ^= 1 << flip.bit % 8
    file.write_bytes(data)
    outcome, faults = "harmless", list[Fault]()
    try:
        faults = client.finish(story, home, patient.acknowledged, rig.endings[patient.story])
        kinds = {fault.kind for fault in faults}
        if "damaged" in kinds and kinds <= NOTICED:
            outcome, faults = "noticed", []
        elif last and kinds:
            outcome, faults = "torn", [fault for fault in faults if fault.kind not in ("lost", "differs")]
    except StoreError:
        outcome = "refused"
    except Exception as error:
        faults = [Fault("unclear", f"{type(error).__name__}: {error}")]
    return {"what": f"{story.name} {flip}", "outcome": outcome, "faults": faults}


def run(stories: list[Story], count: int, *, workers: int, seed: int = 0) -> dict[str, Any]:
    """Try `count` flips; the figures."""
    with forks.room() as name:
        rig = Rig.of(stories, Path(name))
        ward = patients(rig, Path(name))

        def work(flip: list[Any], folder: Path) -> dict[str, Any]:
            return try_(rig, ward[flip[0]], Flip(*flip), folder)

        found = list(forks.spread(draw(ward, count, seed), work, workers, Path(name)))
    outcomes = Counter(tried["outcome"] for tried in found)
    return {
        "flips": len(found),
        **{outcome: outcomes[outcome] for outcome in ("refused", "noticed", "harmless", "torn")},
        **figures((tried["what"], tried["faults"]) for tried in found),
    }


def _files(home: Path) -> list[Path]:
    return [path for path in sorted(home.rglob("*")) if path.is_file() and path.stat().st_size]


def _last(log: bytes) -> int:
    """Where the last transaction of a log begins."""
    size = 24 + PAGE_BYTES
    salts = log[16:24]
    ends = [
        at + size
        for at in range(32, len(log) - size + 1, size)
        if log[at + 8 : at + 16] == salts and struct.unpack_from(">I", log, at + 4)[0]
    ]
    return ends[-2] if len(ends) > 1 else 32
