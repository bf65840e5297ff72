"""Avalanche's side once more, where it is not told of contexts: every batch is an experience of its own.

This is what our replay methods do: memory takes rows while a context lasts, and replays them in it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from avalanche.benchmarks import benchmark_from_datasets, split_online_stream, with_task_labels
from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset as dataset
from avalanche.training import supervised as strategies
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from avalanche.training.storage_policy import ReservoirSamplingBuffer
from torch import Tensor, nn

from benchmarks.peers.avalanche import MER, REPLAY, Build, S, Strategy, contrastive, strategy
from benchmarks.peers.stream import BATCH, MEMORY, Make, Stream


class Online:
    """A strategy that learns batch by batch."""

    def __init__(self, build: Build, stream: Stream) -> None:
        self._experiences = []
        for inputs, labels in stream.contexts:
            rows = dataset(inputs, labels, task_labels=0)
            whole = with_task_labels(benchmark_from_datasets(train=[rows])).train_stream
            split = split_online_stream(whole, experience_size=BATCH, shuffle=False)
            self._experiences.append(list(split))
        self.strategy = build(
            stream.net(),
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=BATCH,
            eval_mb_size=256,
            evaluator=EvaluationPlugin(),
        )

    def learn(self, context: int) -> None:
        """One experience after another."""
        for experience in self._experiences[context]:
            self.strategy.train(experience, num_workers=0)

    def outputs(self, inputs: Tensor) -> Tensor:
        """What the strategy's model answers."""
        found: Tensor = self.strategy.model.eval()(inputs)
        return found


def replay(net: nn.Module, **common: Any) -> Strategy:
    """Experience replay from a reservoir."""
    memory = ReservoirSamplingBuffer(max_size=MEMORY)
    plugin = ReplayPlugin(MEMORY, batch_size=BATCH, batch_size_mem=BATCH, storage_policy=memory)
    return strategy(strategies.Naive, {"plugins": [plugin]}, net, **common)


def common(cls: type, **own: Any) -> Make:
    """A strategy under the common settings."""
    return partial(Online, partial(strategy, cls, own))


METHODS: dict[str, Make] = {
    "naive": common(strategies.Naive),
    "er": partial(Online, replay),
    "er_ace": common(strategies.ER_ACE, **REPLAY),
    "der": common(strategies.DER, **REPLAY, alpha=S["der.alpha"], beta=0.0),
    "derpp": common(strategies.DER, **REPLAY, alpha=S["derpp.alpha"], beta=S["derpp.beta"]),
    "mer": common(strategies.MER, **MER),
    "scr": partial(Online, contrastive),
    "mir": common(strategies.MIR, **REPLAY, subsample=int(S["mir.candidates"])),
}
