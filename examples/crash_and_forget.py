"""Kill the learner in the middle, go on, and forget a row: each time the digest says what happened.

A session writes every row to its journal before it learns it. A second process learns half of the
stream and dies by SIGKILL; the next one goes on from what is on the disk and ends in the state of
a run that was never killed. Then a row is forgotten, and the state is that of a run without it.

    python examples/crash_and_forget.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tenuto import Session, open_stream
from tenuto.store.records import Step

CONFIG = {"hidden": (32,), "memory_size": 100, "learning_rate": 0.05}
OFTEN = {"commit_every": 10, "snapshot_every": 20}
"""Commits and snapshots far closer than needed, so that a short stream has some."""


def write(path: Path, without: str | None = None) -> None:
    """A stream of 1,000 rows as JSON lines, one of them left out."""
    draws = np.random.default_rng(0)
    with path.open("w") as file:
        for i, row in enumerate(draws.normal(size=(1000, 4)).round(3).tolist()):
            if f"row-{i}" != without:
                label = "up" if row[0] > row[1] else "down"
                file.write(json.dumps({"input": row, "target": label, "id": f"row-{i}"}) + "\n")


def learn(home: Path, stream: Path, die_at: int | None = None) -> str:
    """Learn the stream, or what is left of it; the digest of the state. At step `die_at`, die."""

    def on_step(step: Step) -> None:
        if step.k == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with Session(home, config=CONFIG, settings=OFTEN) as session:
        session.learn(open_stream(stream), on_step=on_step)
        return session.learner.digest()


def main() -> None:
    """Tell the story in a directory of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home, stream, shorter = (Path(folder) / name for name in ("home", "all.jsonl", "shorter.jsonl"))
        write(stream)
        write(shorter, without="row-123")

        child = subprocess.run([sys.executable, __file__, str(home), str(stream), "57"], check=False)
        print(f"a learner died by {signal.Signals(-child.returncode).name} at step 57")

        resumed = learn(home, stream)
        whole = learn(Path(folder) / "whole", stream)
        print("resumed and never killed are the same state:", resumed == whole)

        with Session(home) as session:
            forgotten = session.forget(id="row-123")
        without = learn(Path(folder) / "without", shorter)
        print("forgot and never saw it are the same state:", forgotten.digest == without)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        learn(Path(sys.argv[1]), Path(sys.argv[2]), die_at=int(sys.argv[3]))
    else:
        main()
