"""One run: a learner learns the contexts of a job and is tested on all of them.

`python -m tenuto.studies.papers.run` does it in a process of its own: a job as one line of JSON on standard
input, progress and then the result as lines of JSON on standard output.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tenuto.config import OnlineLearnerConfig
from tenuto.errors import TenutoError
from tenuto.learner import Learner
from tenuto.randomness import torch_draws
from tenuto.studies.papers.protocols import PROTOCOLS, Job, Protocol
from tenuto.studies.papers.streams import CLASSES, PIXELS, Contexts, Digits, Rows
from tenuto.studies.process import settle
from tenuto.types import Batch

MEAN, DEVIATION = 0.1307, 0.3081
Tell = Callable[[int, int], None]
"""Told as it goes: rows learned, of how many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a run gave.

    Args:
        accuracies: of each context, after the last one.
        matrix: the same after each context, where that was asked for.
        learning: CPU seconds spent on learning, drawing the rows included.
        testing: CPU seconds spent on testing.
        refused: rows whose update the guard refused.
    """

    accuracies: list[float]
    matrix: list[list[float]] | None
    learning: float
    testing: float
    refused: int

    def to_plain(self) -> dict[str, Any]:
        """Plain data that JSON can hold; the mean first."""
        return {
            "accuracy": sum(self.accuracies) / len(self.accuracies),
            "accuracies": self.accuracies,
            "matrix": self.matrix,
            "learning": self.learning,
            "testing": self.testing,
            "refused": self.refused,
        }


def perform(job: Job, digits: Digits, tell: Tell) -> Outcome:
    """Learn and test; nothing of it is kept.

    Args:
        digits: MNIST as it is; a job judged on validation rows holds them out of it.
        tell: told about a hundred times.
    """
    protocol = PROTOCOLS[job.protocol]
    if job.judged == "validation":
        digits = digits.held_out(job.seed)
    contexts = Contexts(digits, protocol.kind, job.contexts or protocol.contexts, job.seed)
    learner = made(job)
    matrix: list[list[float]] = []
    began, tested = time.process_time(), 0.0
    done, told, total = 0, 0, contexts.rows * protocol.epochs
    for batches in _passes(job, protocol, contexts, learner):
        for inputs, targets in batches:
            learner.learn_batch(Batch(inputs, targets))
            done += len(targets)
            if (now := 100 * done // total) > told:
                told = now
                tell(done, total)
        learner.consolidate()
        if job.matrix and not job.setting.mixed:
            paused = time.process_time()
            matrix.append(accuracies(learner, contexts))
            tested += time.process_time() - paused
    ended = time.process_time()
    reached = matrix[-1] if matrix else accuracies(learner, contexts)
    return Outcome(
        accuracies=reached,
        matrix=matrix or None,
        learning=ended - began - tested,
        testing=tested + time.process_time() - ended,
        refused=learner.stats.refused,
    )


def made(job: Job) -> Learner:
    """The learner of a job, untrained."""
    protocol, setting = PROTOCOLS[job.protocol], job.setting
    fixed: dict[str, Any] = {"seed": job.seed, "head": "fixed", "classes": list(range(CLASSES))}
    memory = {} if job.buffer is None else {"memory_size": job.buffer}
    config = OnlineLearnerConfig.of(
        {"batch_size": protocol.batch, "boundaries": "none", **fixed, **memory, **setting.config}
    )
    return Learner(network(protocol, job.seed), config, method=setting.method, options=setting.options)


class Normalised(nn.Module):
    """Pixels in [0, 1] centred and scaled by MNIST's mean and deviation."""

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 784) to (n, 784)."""
        return (pixels - MEAN) / DEVIATION


def network(protocol: Protocol, seed: int) -> nn.Module:
    """The protocol's multilayer perceptron on pixels / 255, with the first weights it asks for.

    >>> from tenuto.studies.papers.protocols import PROTOCOLS
    >>> sum(p.numel() for p in network(PROTOCOLS["p-mnist"], 0).parameters())
    89610
    """
    widths = [PIXELS, *protocol.hidden, CLASSES]
    layers: list[nn.Module] = [Normalised()] if protocol.normalised else []
    with torch_draws(seed, "network", 0):
        for inputs, outputs in itertools.pairwise(widths):
            layer = nn.Linear(inputs, outputs, bias=protocol.bias)
            if protocol.xavier:
                nn.init.xavier_uniform_(layer.weight)
                if protocol.bias:
                    nn.init.zeros_(layer.bias)
            layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def accuracies(learner: Learner, contexts: Contexts) -> list[float]:
    """The share of each context's test rows that is answered rightly, among all ten classes."""
    found = []
    for number in range(len(contexts)):
        right = rows = 0
        for inputs, targets in contexts.tests(number):
            right += int((learner.outputs(inputs).argmax(1) == targets).sum())
            rows += len(targets)
        found.append(right / rows)
    return found


def _passes(job: Job, protocol: Protocol, contexts: Contexts, learner: Learner) -> Iterator[Iterator[Rows]]:
    """The batches of each context, all its epochs; mixed, they are those of one context."""
    size, epochs = learner.config.batch_size, range(protocol.epochs)
    if job.setting.mixed:
        yield (rows for epoch in epochs for rows in contexts.mixed(size, epoch))
        return
    for number in range(len(contexts)):
        yield (rows for epoch in epochs for rows in contexts.batches(number, size, epoch))


def main() -> int:
    """Read a job, perform it, write what it gave."""
    settle()
    asked = json.loads(sys.stdin.readline())

    def tell(done: int, total: int) -> None:
        _write({"done": done, "total": total})

    try:
        outcome = perform(Job.from_plain(asked["job"]), Digits.load(Path(asked["data"])), tell)
    except TenutoError as error:
        _write({"error": f"{type(error).__name__}: {error}"})
        return 1
    _write({"outcome": outcome.to_plain(), "torch": torch.__version__})
    return 0


def _write(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
