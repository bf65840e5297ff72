"""Avalanche's side: whole experiences, the way it is fastest; no logger, no metric, no evaluation.

Two of its habits are set aside so that all sides learn the same rows: it shuffles a context's rows, and GSS
replays 32 rows a step. Its memory is filled at the end of each context, so it replays nothing in the first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from avalanche.benchmarks import benchmark_from_datasets, with_task_labels
from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset as dataset
from avalanche.benchmarks.utils.data_loader import ReplayDataLoader
from avalanche.core import SupervisedPlugin
from avalanche.models import SCRModel
from avalanche.training import supervised as strategies
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised.lamaml_v2 import LaMAML
from torch import Tensor, nn

from benchmarks.peers.stream import BATCH, CLASSES, CONTEXTS, HIDDEN, MEMORY, RATE, SETTINGS, Make, Stream

EACH = MEMORY // CONTEXTS
"""Rows that GEM and A-GEM keep of each context, since they ask for a number by context."""

Strategy = Any
Build = Callable[..., Strategy]


class SameRows(SupervisedPlugin):  # type: ignore[misc]
    """Reads a context in its order, with ten remembered rows a batch, each pass over memory shuffled."""

    def before_training_epoch(self, strategy: Strategy, **_: Any) -> None:
        """Put such a loader in the place of Avalanche's."""
        loader = strategy.dataloader
        if not isinstance(loader, ReplayDataLoader):
            return
        rows, memory = loader.datasets
        passes = -(-len(rows) // len(memory))
        order = torch.cat([torch.randperm(len(memory)) for _ in range(passes)]).tolist()
        strategy.dataloader = ReplayDataLoader(
            rows,
            memory.subset(order),
            oversample_small_tasks=True,
            batch_size=BATCH,
            batch_size_mem=BATCH,
            shuffle=False,
        )


class Labelled(nn.Module):
    """A model that is handed task labels beside the rows, as La-MAML hands them on, and leaves them alone."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        """Outputs (n, 10)."""
        outputs: Tensor = self.net(inputs)
        return outputs


class Avalanche:
    """A strategy that learns experience by experience."""

    def __init__(self, build: Build, stream: Stream, *, shuffle: bool = False, batch: int = BATCH) -> None:
        net = stream.net()
        self._shuffle = shuffle
        parts = [dataset(inputs, labels, task_labels=0) for inputs, labels in stream.contexts]
        self._experiences = with_task_labels(benchmark_from_datasets(train=parts)).train_stream
        self.strategy = build(
            net,
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=batch,
            eval_mb_size=256,
            evaluator=EvaluationPlugin(),
            plugins=[SameRows()],
        )

    def learn(self, context: int) -> None:
        """One experience."""
        self.strategy.train(self._experiences[context], shuffle=self._shuffle, num_workers=0)

    def outputs(self, inputs: Tensor) -> Tensor:
        """What the strategy's model answers."""
        model = self.strategy.model.eval()
        found: Tensor = model(inputs)
        return found


class Discriminant(Avalanche):
    """Streaming LDA: the answer is the strategy's, on features."""

    def outputs(self, inputs: Tensor) -> Tensor:
        """Scores (n, 10)."""
        found: Tensor = self.strategy.predict(super().outputs(inputs))
        return found


def strategy(cls: type, own: dict[str, Any], net: nn.Module, **common: Any) -> Strategy:
    """A strategy with plain SGD."""
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    return cls(model=net, optimizer=optimizer, **common, **own)


def discriminant(net: Any, **common: Any) -> Strategy:
    """Streaming LDA on the features of the initial body."""
    return strategies.StreamingLDA(
        slda_model=net.body,
        input_size=HIDDEN,
        num_classes=CLASSES,
        shrinkage_param=SETTINGS["slda.shrinkage"],
        **common,
    )


def contrastive(net: Any, *, criterion: nn.Module, **common: Any) -> Strategy:
    """SCR on the body's features; no projection, as ours has none."""
    model = SCRModel(feature_extractor=net.body, projection=nn.Identity())
    own = {"mem_size": MEMORY, "batch_size_mem": BATCH, "temperature": SETTINGS["scr.temperature"]}
    return strategy(strategies.SCR, own, model, **common)


def lookahead(net: nn.Module, **common: Any) -> Strategy:
    """La-MAML with a memory, one step ahead."""
    own = {
        "n_inner_updates": 1,
        "lr_alpha": SETTINGS["lamaml.eta"],
        "grad_clip_norm": SETTINGS["lamaml.clip"],
        "alpha_init": RATE,
        "max_buffer_size": MEMORY,
        "buffer_mb_size": BATCH,
    }
    return strategy(LaMAML, own, Labelled(net), **common)


def common(cls: type, **own: Any) -> Make:
    """A strategy under the common settings."""
    return partial(Avalanche, partial(strategy, cls, own))


S = SETTINGS
REPLAY = {"mem_size": MEMORY, "batch_size_mem": BATCH}
MER = REPLAY | {"n_inner_steps": 1, "beta": 1.0, "gamma": 1.0}
GSS = {"mem_size": MEMORY, "mem_strength": 5, "input_size": [784]}
GDUMB = {"mem_size": MEMORY, "train_epochs": int(S["gdumb.epochs"])}
METHODS: dict[str, Make] = {
    "naive": common(strategies.Naive),
    "er": common(strategies.Replay, mem_size=MEMORY),
    "er_ace": common(strategies.ER_ACE, **REPLAY),
    "der": common(strategies.DER, **REPLAY, alpha=S["der.alpha"], beta=0.0),
    "derpp": common(strategies.DER, **REPLAY, alpha=S["derpp.alpha"], beta=S["derpp.beta"]),
    "agem": common(strategies.AGEM, patterns_per_exp=EACH, sample_size=int(S["agem.rows"])),
    "gem": common(strategies.GEM, patterns_per_exp=EACH, memory_strength=S["gem.margin"]),
    "mir": common(strategies.MIR, **REPLAY, subsample=int(S["mir.candidates"])),
    "gss": common(strategies.GSS_greedy, **GSS),
    "mer": common(strategies.MER, **MER),
    "lamaml": partial(Avalanche, lookahead),
    "scr": partial(Avalanche, contrastive),
    "ewc": common(strategies.EWC, ewc_lambda=S["ewc.strength"] / 2, mode="online", decay_factor=1.0),
    "si": common(strategies.SynapticIntelligence, si_lambda=2 * S["si.c"], eps=S["si.xi"]),
    "mas": common(strategies.MAS, lambda_reg=S["mas.strength"]),
    "lwf": common(
        strategies.LwF,
        alpha=S["lwf.weight"] * S["lwf.temperature"] ** 2,
        temperature=S["lwf.temperature"],
    ),
    "gdumb": partial(
        Avalanche, partial(strategy, strategies.GDumb, GDUMB), shuffle=True, batch=int(S["gdumb.batch"])
    ),
    "slda": partial(Discriminant, discriminant),
}
"""Penalties are written as ours: EWC's without a half, SI's with one, distillation without T squared."""
