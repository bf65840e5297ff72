"""What a correction's update costs on SmolLM2-135M: one row of 64 tokens, in each precision.

A home by name learns rows through its journal, one update each: alone (`naive`), with three replayed rows of
64 tokens (`er`), and with four anchors beside them (`anchored`, as a home by name has it, its base's own
words). Wall and CPU time of whole corrections, from the row's coming to the update's commit; their parts are
CPU time. Replay's and the anchors' share is what the case costs beyond the one before it. One process for
each case, one after the other.

    python -m benchmarks.correction_cost [--updates 40] [--precision float32 bfloat16] [--threads 1] [--json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import settle
from benchmarks.timing import Clock, table
from tenuto import OnlineExample, Session
from tenuto.config import PRECISIONS
from tenuto.models.language import answer, code

TOKENS, TOLD, LENGTH, ROOM = 64, 24, 128, 64
"""Tokens of a row, how many of them are the answer, and how long a home's rows and answers may be."""
WORDS = 40_000
CASES = {"alone": "naive", "replayed": "er", "anchored": "anchored"}
"""What lies beside the row, and the method's name."""
WARM = 6
GOALS = {("alone", "bfloat16"): 0.5, ("anchored", "bfloat16"): 1.5}
"""Wall seconds within which 99 of 100 updates should be made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What one case gave, in seconds.

    Args:
        wall, cpu: of each correction.
        parts: median CPU time of the parts of an update, and of what the journal does about it.
    """

    case: str
    precision: str
    wall: list[float]
    cpu: list[float]
    parts: dict[str, float]


class Objective:
    """A learner's objective, its calls timed."""

    def __init__(self, objective: Any, clock: Clock) -> None:
        self._objective = objective
        self._call = clock.time("forward", objective)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)

    def __call__(self, params: Any, batch: Any) -> Any:
        """The scalar loss and the outputs."""
        return self._call(params, batch)


def row(number: int) -> OnlineExample:
    """A row of `TOKENS` tokens, the last `TOLD` of them the answer."""
    drawn = np.random.default_rng(number).integers(100, WORDS, TOKENS).tolist()
    coded = code([(drawn[:-TOLD], False), (drawn[-TOLD:], True)], LENGTH)
    return OnlineExample(input=coded, target=answer(coded, ROOM), id=f"row-{number}")


def watched(learner: Any, clock: Clock) -> None:
    """Let a clock see the parts of a learner's updates."""
    learner._objective = Objective(learner._objective, clock)
    learner._estimate = clock.time("estimate", learner._estimate)
    learner.guard.judge = clock.time("guard", learner.guard.judge)
    learner.optimizer.propose = clock.time("optimizer", learner.optimizer.propose)
    learner.optimizer.commit = clock.time("optimizer", learner.optimizer.commit)
    learner.learn_batch = clock.time("learner", learner.learn_batch)


def measure(case: str, precision: str, updates: int) -> Cost:
    """Teach a new home `updates` rows, one update each."""
    wall, cpu, spent = [], [], []
    settings = {"precision": precision, "passes": 1, "stop_loss": None}
    with (
        tempfile.TemporaryDirectory() as folder,
        Session(Path(folder) / "home", "smollm2", settings, method=CASES[case]) as session,
    ):
        clock = Clock()
        watched(session.learner, clock)
        for number in range(WARM + updates):
            clock.spent = {}
            began, start = time.perf_counter(), time.process_time()
            session.ingest([row(number)])
            session.run()
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - start)
            spent.append(parts(cpu[-1], clock.spent))
        steps = session.learner.steps
    if steps != WARM + updates:
        raise RuntimeError(f"{WARM + updates} rows made {steps} updates")
    medians = {part: float(np.median([one[part] for one in spent[WARM:]])) for part in spent[0]}
    return Cost(case=case, precision=precision, wall=wall[WARM:], cpu=cpu[WARM:], parts=medians)


def parts(whole: float, spent: dict[str, float]) -> dict[str, float]:
    """The parts of one correction, which sum to the whole."""
    known = {
        "forward": spent["forward"],
        "backward": spent["estimate"] - spent["forward"],
        "optimizer": spent["optimizer"],
        "guard": spent["guard"],
    }
    return {
        **known,
        "rest of the step": spent["learner"] - sum(known.values()),
        "journal": whole - spent["learner"],
    }


def asked(case: str, precision: str, updates: int, threads: int) -> Cost:
    """The same in a process of its own."""
    given = ("--case", case, "--precision", precision, "--updates", str(updates), "--threads", str(threads))
    command = [sys.executable, "-m", "benchmarks.correction_cost", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return Cost(**json.loads(done.stdout))


def told(costs: list[Cost]) -> str:
    """Two tables: whole corrections, and their parts."""
    wholes, rows = [], []
    before: dict[str, float] = {}
    for cost in costs:
        times = [np.quantile(of, share) * 1e3 for of in (cost.cpu, cost.wall) for share in (0.5, 0.99)]
        goal = GOALS.get((cost.case, cost.precision))
        met = "" if goal is None else f"<= {goal * 1e3:.0f}: {'met' if times[3] <= goal * 1e3 else 'missed'}"
        wholes.append([cost.case, cost.precision, *(f"{one:.0f}" for one in times), met])
        work = cost.parts["forward"] + cost.parts["backward"]
        more = work - before.get(cost.precision, 0.0)
        before[cost.precision] = work
        rows.append(
            [cost.case, cost.precision, *(f"{p * 1e3:.1f}" for p in cost.parts.values()), f"{more * 1e3:.0f}"]
        )
    head = ["beside the row", "precision", "CPU p50", "CPU p99", "wall p50", "wall p99", "goal, wall p99"]
    beyond = "forward and backward beyond the case above"
    return (
        f"milliseconds per correction\n{table(head, wholes)}\n\n"
        f"CPU milliseconds, medians\n{table(['beside the row', 'precision', *costs[0].parts, beyond], rows)}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--case", choices=CASES, help="one case, in this process, as JSON")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.case:
        settle(arguments.threads)
        cost = measure(arguments.case, arguments.precision[0], arguments.updates)
        print(json.dumps(asdict(cost)))
        return
    costs = [
        asked(case, precision, arguments.updates, arguments.threads)
        for precision in arguments.precision
        for case in CASES
    ]
    print(json.dumps([asdict(cost) for cost in costs], indent=2) if arguments.json else told(costs))
    if not arguments.json:
        rows = f"rows of {TOKENS} tokens, {TOLD} of them answered"
        print(f"\n{rows}; {arguments.threads} threads; torch {torch.__version__}")


if __name__ == "__main__":
    main()
