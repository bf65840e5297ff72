"""Our side: the public `Learner`, told where a context ends as the others are."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from benchmarks.peers.stream import BATCH, CLASSES, MEMORY, RATE, SETTINGS, Make, Stream
from tenuto import Batch, Learner, OnlineLearnerConfig

NAMES = [
    "naive",
    "er",
    "er_ace",
    "der",
    "derpp",
    "agem",
    "gem",
    "mir",
    "gss",
    "mer",
    "lamaml",
    "scr",
    "ewc",
    "si",
    "mas",
    "lwf",
    "gdumb",
    "slda",
]
AS_THEIRS: dict[str, dict[str, Any]] = {
    "ewc": {"fisher": "empirical"},
    "scr": {"noise": 0.0, "mask": 0.0},
}
"""Fisher information of the true labels; SCR without augmentation."""


class Ours:
    """A learner of one method."""

    def __init__(self, method: str, stream: Stream) -> None:
        self.stream = stream
        config = OnlineLearnerConfig(
            seed=stream.seed,
            learning_rate=RATE,
            batch_size=BATCH,
            memory_size=MEMORY,
            head="fixed",
            classes=tuple(range(CLASSES)),
        )
        self.learner = Learner(stream.net(), config, method=method, options=options(method))

    def learn(self, context: int) -> None:
        """One pass, then `consolidate`."""
        inputs, labels = self.stream.contexts[context]
        for rows, targets in zip(inputs.split(BATCH), labels.split(BATCH), strict=True):
            self.learner.learn_batch(Batch(rows, targets))
        self.learner.consolidate()

    def outputs(self, inputs: Tensor) -> Tensor:
        """What the model answers."""
        return self.learner.outputs(inputs)


def options(method: str) -> dict[str, Any]:
    """The common settings of a method, and what makes it the one the others have."""
    named = {
        name.partition(".")[2]: value for name, value in SETTINGS.items() if name.startswith(f"{method}.")
    }
    named.pop("batch", None)
    return named | AS_THEIRS.get(method, {})


METHODS: dict[str, Make] = {name: partial(Ours, name) for name in NAMES}
