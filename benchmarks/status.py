"""How long the verbs that do not train take to answer: a process each, from its start to its end.

The home holds 20,000 rows learned with DER++, a memory of 500, seven snapshots and 100 quarantined rows.
Wall-clock times: what a person waits. The first run of a verb, which may read from disk, is left out.

    python -m benchmarks.status [--runs N] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import settle
from benchmarks.timing import table
from tenuto import OnlineExample, Session
from tenuto.randomness import span, uniform

ROWS, FEATURES, BAD = 20_000, 32, 100
LIMIT = 150.0
"""Milliseconds that `tenuto status` may take."""
VERBS = ("--version", "status", "quarantine", "snapshots", "report")


def make(home: Path) -> None:
    """A home that has seen some use."""
    inputs = uniform(0, "status", span(0, FEATURES, ROWS)).astype("float32")
    rows = [
        OnlineExample(input=input, target=int(10 * input[0]), id=f"row-{i}") for i, input in enumerate(inputs)
    ]
    bad = [OnlineExample(input=[0.0], target=0, id=f"bad-{i}") for i in range(BAD)]
    with Session(home, method="derpp", config={"hidden": [32]}, settings={"snapshot_every": 250}) as session:
        for start in range(0, ROWS, 1000):
            session.ingest(rows[start : start + 1000])
        session.ingest(bad)
        session.flush()


def measure(arguments: list[str], runs: int) -> list[float]:
    """Wall-clock milliseconds of each run of the command."""
    found = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tenuto", *arguments], stdout=subprocess.DEVNULL, check=True)
        found.append((time.perf_counter() - start) * 1e3)
    return found[1:]


def main() -> int:
    """Print the table; 1 where `tenuto status` is too slow."""
    parser = argparse.ArgumentParser(prog="status", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    settle()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        make(home)
        times = {}
        for verb in VERBS:
            needs = [] if verb.startswith("-") else ["--home", str(home)]
            page = ["--out", str(Path(folder) / "report.html")] if verb == "report" else []
            times[verb] = measure([verb, *needs, *page], given.runs)
    medians = {verb: statistics.median(found) for verb, found in times.items()}
    holds = medians["status"] < LIMIT
    if given.json:
        print(json.dumps({"milliseconds": times, "medians": medians, "limit": LIMIT, "holds": holds}))
    else:
        rows = [
            [verb, f"{medians[verb]:.0f}", f"{min(times[verb]):.0f}", f"{max(times[verb]):.0f}"]
            for verb in VERBS
        ]
        print(table(["verb, ms", "median", "least", "most"], rows))
        told = "holds" if holds else "TOO SLOW"
        print(f"tenuto status: {medians['status']:.0f} ms, limit {LIMIT:.0f}: {told}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
