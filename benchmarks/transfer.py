"""Transfer of every method: what earlier contexts do for later ones, and later ones to earlier ones.

Five contexts of MNIST, each turned by an angle of its own in [0, 180) degrees: `--rows` rows each in one
pass, batches of 10, memory of 500, MLP 784-100-100-10, SGD at 0.05. Printed for each method, as means over
seeds with 95 % intervals: the average accuracy at the end; FWT, the accuracy on a context before its first
row over that of the untrained model; BWT; and the gain, how many times fewer rows of a new context the
learner needs to answer 80 % of its test rows than a fresh learner of the same method does.

    python -m benchmarks.transfer [--seeds N] [--rows N] [--method NAME ...] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from benchmarks.common import data, settle
from benchmarks.timing import table
from tenuto import Batch, Learner, OnlineLearnerConfig, methods
from tenuto.evaluation import AccuracyMatrix
from tenuto.evaluation.intervals import interval
from tenuto.studies.papers.protocols import PROTOCOLS
from tenuto.studies.papers.run import network
from tenuto.studies.papers.streams import Contexts, Digits

CONTEXTS, BATCH, MEMORY, RATE = 5, 10, 500, 0.05
GOAL, LOOK, ASKED = 0.8, 100, 1000
"""The accuracy to reach; rows between two looks; test rows asked at a look."""


@dataclass
class Run:
    """One method under one seed.

    Args:
        accuracy, forward, backward: of the accuracy matrix.
        gains: per context but the first, rows a fresh learner needs over rows this one needs.
    """

    accuracy: float
    forward: float
    backward: float
    gains: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Course:
    """The contexts of a seed."""

    contexts: Contexts
    rows: int
    seed: int

    def learner(self, method: str) -> Learner:
        """An untrained learner; every method of a seed begins from the same weights."""
        config = OnlineLearnerConfig(
            learning_rate=RATE, memory_size=MEMORY, head="fixed", classes=tuple(range(10)), seed=self.seed
        )
        return Learner(network(PROTOCOLS["r-mnist"], self.seed), config, method=method)

    def batches(self, number: int) -> Iterator[Batch]:
        """The rows of a context, in batches."""
        left = self.rows
        for inputs, targets in self.contexts.batches(number, BATCH):
            if left <= 0:
                return
            left -= len(targets)
            yield Batch(inputs, targets)

    def tests(self, number: int) -> tuple[Tensor, Tensor]:
        """Test rows of a context."""
        inputs, targets = next(self.contexts.tests(number, ASKED))
        return inputs, targets

    def accuracy(self, learner: Learner, number: int) -> float:
        """The share of a context's test rows that is answered right."""
        inputs, targets = self.tests(number)
        return float((learner.outputs(inputs).argmax(1) == targets).double().mean())

    def learn(self, learner: Learner, number: int) -> float:
        """Learn a context; how many of its rows it took to reach the goal, infinity where it never did."""
        reached, seen = math.inf if self.accuracy(learner, number) < GOAL else 0.0, 0
        for batch in self.batches(number):
            learner.learn_batch(batch)
            seen += len(batch)
            if math.isinf(reached) and seen % LOOK == 0 and self.accuracy(learner, number) >= GOAL:
                reached = float(seen)
        learner.consolidate()
        if math.isinf(reached) and self.accuracy(learner, number) >= GOAL:
            reached = float(seen)
        return reached

    def run(self, method: str) -> Run:
        """Learn all contexts, and each of them afresh."""
        learner = self.learner(method)
        baseline = [self.accuracy(learner, number) for number in range(CONTEXTS)]
        values, gains = [], []
        for number in range(CONTEXTS):
            needed = self.learn(learner, number)
            values.append([self.accuracy(learner, n) for n in range(CONTEXTS)])
            alone = self.learn(self.learner(method), number) if number else math.inf
            if math.isfinite(alone) and math.isfinite(needed):
                gains.append(max(alone, LOOK) / max(needed, LOOK))
        matrix = AccuracyMatrix(values=values, baseline=baseline)
        return Run(
            matrix.average_accuracy, matrix.forward_transfer or 0.0, matrix.backward_transfer or 0.0, gains
        )


def measure(names: list[str], seeds: range, rows: int) -> list[dict[str, object]]:
    """One row per method; every figure a mean with the half width of its 95 % interval."""
    digits = Digits.load(data("mnist"))
    courses = [Course(Contexts(digits, "rotated", CONTEXTS, seed), rows, seed) for seed in seeds]
    found = []
    for name in names:
        runs = [course.run(name) for course in courses]
        gains = [statistics.geometric_mean(run.gains) for run in runs if run.gains]
        found.append(
            {
                "method": name,
                "accuracy": _interval([run.accuracy for run in runs]),
                "FWT": _interval([run.forward for run in runs]),
                "BWT": _interval([run.backward for run in runs]),
                "gain": _interval(gains),
            }
        )
    return found


def _interval(values: list[float]) -> list[float | None] | None:
    """The mean and the half width of its interval; None where there is no value."""
    if not values:
        return None
    found = interval(values)
    return [round(found.mean, 4), None if found.half_width is None else round(found.half_width, 4)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000, help="rows of a context")
    parser.add_argument("--method", action="append", help="these methods only; may be repeated")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    settle()
    found = measure(arguments.method or methods.known(plain=True), range(arguments.seeds), arguments.rows)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    head = ["method", "accuracy", "FWT", "BWT", "gain"]
    cells = [[row[name] for name in head] for row in found]
    print(table(head, [[_told(cell) for cell in line] for line in cells]))
    print(f"Means over {arguments.seeds} seeds, 95 % intervals; gain: in rows to {GOAL:.0%}.")


def _told(cell: object) -> str:
    if isinstance(cell, list):
        return f"{cell[0]:.3f}" + ("" if cell[1] is None else f" +- {cell[1]:.3f}")
    return "-" if cell is None else str(cell)


if __name__ == "__main__":
    main()
