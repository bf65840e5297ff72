"""A million rows with everything on: memory and bodies flat, and resumed bit for bit after kill -9.

A session learns rows of 16 numbers around centres that drift, in ten domains, from five senders of whom one
lies; one row in 2,000 is broken, one without a label, one sent twice. The method replays by priority from a
memory kept by surprise, of which nobody holds more than half, and holds weights by EWC and answers by
distillation; detectors watch the stream, five guards each update; it consolidates and sleeps every so many
rows; the journal drops bodies beyond a size (ids and hashes stay: a row sent twice is learned once).

One process does it undisturbed. Another is killed by SIGKILL at random moments, and opened again each time;
both must end with the same digest. Some kills are followed by `tenuto verify`.

    python -m benchmarks.everything_on [--rows N] [--kills N] [--seed N] [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import settle
from benchmarks.memory_flat import resident
from benchmarks.timing import table
from tenuto import OnlineExample, OnlineLearnerConfig, Session, SessionConfig

FEATURES, CLASSES, CHUNK, DOMAINS = 16, 8, 1000, 10
SENDERS, LIAR = ("north", "south", "east", "west"), "liar"
OPTIONS = {"distil": 0.5, "rows": 500}
GROWTH = 0.03


def config(rows: int) -> OnlineLearnerConfig:
    """Every setting that does something, for a stream of so many rows."""
    return OnlineLearnerConfig(
        batch_size=50,
        learning_rate=0.05,
        momentum=0.5,
        hidden=(32,),
        memory_size=500,
        memory_keep="principal:0.5",
        insertion="surprise",
        sampling="prioritized",
        guard="finite+divergence+norm_budget+bounds+poisoning",
        drift="adwin+page_hinkley",
        drift_answers=("consolidate", "replay"),
        drift_steps=20,
        consolidate_every=max(rows // 40, 1000),
        sleep_updates=10,
        sleep_distil=0.5,
        refresh_every=2,
    )


def settings(rows: int) -> SessionConfig:
    """A journal of a few megabytes at most, and snapshots often enough to be killed between them."""
    every = max(rows // 2000, 20)
    return SessionConfig(
        commit_every=max(every // 8, 5),
        snapshot_every=every,
        keep_snapshots=3,
        keep_steps=max(rows // 500, 1000),
        journal_max_bytes=4 << 20,
    )


def chunk(start: int, rows: int) -> list[OnlineExample]:
    """Rows `start` to `start + CHUNK` of a stream of `rows`, the same whoever asks."""
    draws = np.random.default_rng(start)
    domain, numbers = start * DOMAINS // rows, np.arange(start, start + CHUNK)
    targets = draws.integers(0, CLASSES, CHUNK)
    phases = np.outer(np.arange(1, CLASSES + 1), np.arange(1, FEATURES + 1)) + 0.7 * domain + start / rows
    inputs = 1.5 * np.sin(phases)[targets] + 0.5 * draws.normal(size=(CHUNK, FEATURES))
    inputs = inputs.astype(np.float32)
    senders = draws.choice(len(SENDERS), CHUNK, p=(0.85, 0.05, 0.05, 0.05))
    lies = draws.random(CHUNK) < 0.005
    made = [
        OnlineExample(
            input=inputs[i],
            target=int((targets[i] + 1) % CLASSES if lies[i] else targets[i]),
            id=f"r{numbers[i]}",
            domain=f"domain-{domain}",
            principal=LIAR if lies[i] else SENDERS[senders[i]],
        )
        for i in range(CHUNK)
    ]
    if start // CHUNK % 2:
        broken, unlabelled = inputs[3] * np.nan, inputs[7]
        made[3] = OnlineExample(input=broken, target=0, id=f"r{numbers[3]}", principal="north")
        made[7] = OnlineExample(input=unlabelled, id=f"r{numbers[7]}", principal="north")
        made[11] = made[10]
    return made


def opened(home: Path, rows: int) -> Session:
    """A session on the home with everything on."""
    return Session(home, config=config(rows), method="hybrid", options=OPTIONS, settings=settings(rows))


def work(home: Path, rows: int) -> None:
    """Learn from where the home stands to the end, saying after each chunk how far it is and its cost."""
    settle()
    with opened(home, rows) as session:
        known = session.home.journal.source("stream")
        for start in range(0 if known is None else known.offset, rows, CHUNK):
            examples, k, before = chunk(start, rows), session.k, time.process_time()
            session.ingest(examples, source="stream")
            ingested = time.process_time()
            session.run()
            ran, steps = time.process_time() - ingested, session.k - k
            said: dict[str, Any] = {"rows": start + CHUNK, "run": ran, "steps": steps}
            if said["rows"] % (rows // 10) == 0:
                gc.collect()
                held = session.home.journal.counts()["bytes"]
                said |= {"resident": resident(), "disk": disk(home), "bodies": held}
            say({**said, "ingest": ingested - before})
        session.flush()
        stats, counts = session.learner.stats, session.home.journal.counts()
        verdicts: Counter[str] = Counter()
        for verdict, steps in session.home.ledger.verdicts().items():
            verdicts[verdict.partition(":")[0]] += steps
        say(
            {
                "digest": session.learner.digest(),
                "steps": session.k,
                "learned": stats.examples,
                "consolidations": stats.consolidations,
                "verdicts of the kept log": dict(verdicts),
                "journal": counts,
            }
        )


def say(line: dict[str, Any]) -> None:
    """One line of JSON to whoever started this process."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def disk(home: Path) -> int:
    """Bytes of a home's files."""
    return sum(file.stat().st_size for file in home.rglob("*") if file.is_file())


@dataclass(frozen=True)
class Life:
    """What one process said before its end: `end` is its last word, None where it was killed."""

    said: list[dict[str, Any]]
    end: dict[str, Any] | None


def live(home: Path, rows: int, kill_at: int | None = None, wait: float = 0.0) -> Life:
    """Run a worker to its end, or kill it so many chunk-times after it said that `kill_at` rows are done."""
    command = [sys.executable, "-m", "benchmarks.everything_on", "--rows", str(rows), "--work", str(home)]
    said: list[dict[str, Any]] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as child:
        for line in child.stdout or ():
            said.append(json.loads(line))
            if kill_at is not None and said[-1].get("rows", 0) >= kill_at:
                time.sleep(wait * (said[-1]["ingest"] + said[-1]["run"]))
                child.kill()
                break
        rest = child.stdout.read() if child.stdout else b""
    said += [json.loads(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
    if child.returncode == 0:
        return Life(said[:-1], said[-1])
    if kill_at is None or child.returncode != -9:
        raise RuntimeError(f"a worker on {home} ended with {child.returncode}")
    return Life(said, None)


def killed(home: Path, rows: int, kills: int, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The last word of a learner that was killed so often, and where; some kills are followed by a check."""
    dice, cuts = random.Random(seed), []
    for number, place in enumerate(sorted(dice.randrange(CHUNK, rows) for _ in range(kills))):
        life = live(home, rows, place, 2 * dice.random())
        if life.end is not None:
            raise RuntimeError(f"the worker to be killed at row {place} was done before")
        cut = {"rows": life.said[-1]["rows"]}
        if number % 3 == 0:
            command = [sys.executable, "-m", "tenuto", "verify", "--home", str(home), "--json"]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
            cut["verified"] = json.loads(done.stdout)
        cuts.append(cut)
    end = live(home, rows).end
    if end is None:
        raise RuntimeError("the last worker said nothing")
    return end, cuts


def measure(rows: int, kills: int, seed: int) -> dict[str, Any]:
    """Both runs, and what they show."""
    with tempfile.TemporaryDirectory(prefix="tenuto-everything-") as folder:
        whole = live(Path(folder, "whole"), rows)
        end, cuts = killed(Path(folder, "killed"), rows, kills, seed)
    if whole.end is None:
        raise RuntimeError("the undisturbed worker said nothing")
    tenth, marks = len(whole.said) // 10, []
    for start in range(0, len(whole.said), tenth):
        part = whole.said[start : start + tenth]
        mark = {name: part[-1][name] for name in ("rows", "resident", "disk", "bodies")}
        marks.append({**mark, "step_us": sum(c["run"] for c in part) / sum(c["steps"] for c in part) * 1e6})
    return {
        "rows": rows,
        "end": whole.end,
        "tenths": marks,
        "growth": marks[-1]["resident"] / marks[0]["resident"] - 1,
        "left_per_row": (left(marks[-1]) - left(marks[1])) / (rows - marks[1]["rows"]),
        "pace": marks[-1]["step_us"] / marks[1]["step_us"],
        "cpu_seconds": sum(c["run"] + c["ingest"] for c in whole.said),
        "ingest_us_per_row": sum(c["ingest"] for c in whole.said) / rows * 1e6,
        "kills": cuts,
        "same_digest": end["digest"] == whole.end["digest"] and end["steps"] == whole.end["steps"],
        "verified": [cut["verified"]["holds"] for cut in cuts if "verified" in cut],
    }


def left(mark: dict[str, Any]) -> int:
    """Bytes on disk beside the bodies."""
    return int(mark["disk"] - mark["bodies"])


def main() -> int:
    """Measure and print; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000, help=f"a multiple of {10 * CHUNK}")
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        work(given.work, given.rows)
        return 0
    if given.rows < 10 * CHUNK or given.rows % (10 * CHUNK):
        parser.error(f"--rows must be a multiple of {10 * CHUNK}")
    found = measure(given.rows, given.kills, given.seed)
    broken = not (found["same_digest"] and all(found["verified"]))
    if given.json:
        print(json.dumps(found, indent=2))
        return int(broken)
    lines = [
        [
            f"{mark['rows']:,}",
            *(f"{mark[name] / 2**20:.1f}" for name in ("resident", "disk", "bodies")),
            f"{mark['step_us']:.0f}",
        ]
        for mark in found["tenths"]
    ]
    print(table(["rows", "resident, MiB", "disk, MiB", "bodies, MiB", "step, us"], lines))
    print(f"Resident memory, last tenth over first: {found['growth']:+.2%} (target: below {GROWTH:.0%}).")
    print(f"A row leaves {found['left_per_row']:.0f} bytes on disk, its body apart.")
    print(f"A step's time, last tenth over second: {found['pace']:.3f}.")
    print(f"CPU: {found['cpu_seconds']:.0f} s; to acknowledge a row: {found['ingest_us_per_row']:.0f} us.")
    print(f"At the end: {json.dumps(found['end'])}")
    places = ", ".join(f"{cut['rows']:,}" for cut in found["kills"])
    print(f"Killed by SIGKILL after rows {places}: the same digest: {found['same_digest']}.")
    print(f"tenuto verify after {len(found['verified'])} of the kills: all hold: {all(found['verified'])}.")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
