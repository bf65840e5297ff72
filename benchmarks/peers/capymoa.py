"""CapyMOA's side: `batch_train` and the events of a context's beginning.

Its own evaluation loop also predicts every batch before learning it; that is left out, to its advantage.
What it does between contexts falls at the beginning of the next, so the last one is not charged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from capymoa.classifier import Finetune
from capymoa.ocl import strategy as strategies
from capymoa.ocl.evaluation.events import TrainTaskBegin
from capymoa.ocl.events import Dispatcher, Handler
from capymoa.stream import Schema
from torch import Tensor, nn

from benchmarks.peers.stream import BATCH, CLASSES, HIDDEN, MEMORY, RATE, SETTINGS, Make, Stream

Classifier = Any
Build = Callable[[Schema, nn.Module, int], Classifier]
ROWS = 1000
"""Of each context, that importances are measured on, as ours."""


class CapyMOA:
    """A classifier that is told where a context begins."""

    def __init__(self, build: Build, stream: Stream) -> None:
        self.stream, self.step = stream, 0
        names = [str(k) for k in range(CLASSES)]
        features = [f"x{i}" for i in range(stream.contexts[0][0].shape[1])]
        schema = Schema.from_custom([*features, "label"], target="label", categories={"label": names})
        self.classifier = build(schema, stream.net(), stream.seed)
        self.events = Dispatcher()
        if isinstance(self.classifier, Handler):
            self.classifier.attach_with(self.events)

    def learn(self, context: int) -> None:
        """One pass."""
        self.events.notify(TrainTaskBegin(context, self.step))
        inputs, labels = self.stream.contexts[context]
        for rows, targets in zip(inputs.split(BATCH), labels.split(BATCH), strict=True):
            self.classifier.batch_train(rows, targets)
            self.step += 1
        if isinstance(self.classifier, strategies.GDumb):
            self.classifier.gdumb_fit()

    def outputs(self, inputs: Tensor) -> Tensor:
        """Probabilities (n, 10)."""
        found: Tensor = self.classifier.batch_predict_proba(inputs)
        return found


def finetune(schema: Schema, net: nn.Module, seed: int) -> Classifier:
    """Plain SGD."""
    return Finetune(schema, net, torch.optim.SGD(net.parameters(), lr=RATE), random_seed=seed)


def replay(schema: Schema, net: nn.Module, seed: int) -> Classifier:
    """Ten remembered rows beside each batch."""
    return strategies.ExperienceReplay(finetune(schema, net, seed), buffer_size=MEMORY)


def protected(cls: type, own: dict[str, Any], schema: Schema, net: nn.Module, seed: int) -> Classifier:
    """A method that regularises plain SGD."""
    return cls(schema=schema, model=net, optimiser=torch.optim.SGD(net.parameters(), lr=RATE), **own)


def dumb(schema: Schema, net: nn.Module, seed: int) -> Classifier:
    """GDumb; it takes Adam alone, whose rate stays at its default."""
    epochs, batch = int(SETTINGS["gdumb.epochs"]), int(SETTINGS["gdumb.batch"])
    return strategies.GDumb(schema, net, epochs, batch, capacity=MEMORY, seed=seed)


def discriminant(schema: Schema, net: Any, seed: int) -> Classifier:
    """SLDA on the features of the initial body."""
    return strategies.SLDA(schema, net.body, HIDDEN)


def holding(cls: type, **own: Any) -> Make:
    """A regularised classifier."""
    return partial(CapyMOA, partial(protected, cls, own))


S = SETTINGS
METHODS: dict[str, Make] = {
    "naive": partial(CapyMOA, finetune),
    "er": partial(CapyMOA, replay),
    "ewc": holding(strategies.EWC, lambda_=S["ewc.strength"], fim_buffer=ROWS),
    "si": holding(strategies.SI, lambda_=2 * S["si.c"], damping=S["si.xi"]),
    "mas": holding(strategies.MAS, lambda_=2 * S["mas.strength"], buffer_capacity=ROWS),
    "lwf": holding(strategies.LWF, alpha=S["lwf.weight"], temperature=S["lwf.temperature"]),
    "gdumb": partial(CapyMOA, dumb),
    "slda": partial(CapyMOA, discriminant),
}
"""Penalties are written as ours: SI's and MAS's carry a half."""
