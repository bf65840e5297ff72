"""What every side is given, and how every side is judged; numpy and torch alone are needed.

The rows of a seed, in their order, and the initial weights lie in one file that each side reads. Cost is the
CPU time of the whole process while it learns, the end of each context included; judging is not timed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

CONTEXTS, CLASSES, BATCH, MEMORY, RATE, HIDDEN = 5, 10, 10, 500, 0.05, 400
SETTINGS: Mapping[str, float] = {
    "der.alpha": 1.0,
    "derpp.alpha": 1.0,
    "derpp.beta": 0.5,
    "ewc.strength": 100.0,
    "si.c": 0.1,
    "si.xi": 0.1,
    "mas.strength": 0.1,
    "lwf.weight": 1.0,
    "lwf.temperature": 2.0,
    "agem.rows": 64,
    "gem.margin": 0.5,
    "mir.candidates": 50,
    "gdumb.epochs": 30,
    "gdumb.batch": 20,
    "slda.shrinkage": 1e-4,
    "scr.temperature": 0.1,
    "lamaml.eta": 0.1,
    "lamaml.clip": 2.0,
}
"""Of each method, in the words of our options; each side turns them into its own definition."""


class Net(nn.Module):
    """784-400-400-10 with ReLU: `body` makes features (n, 400), `head` outputs (n, 10)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, 10) of rows (n, inputs)."""
        outputs: Tensor = self.head(self.body(inputs))
        return outputs


@dataclass(frozen=True, slots=True)
class Stream:
    """A seed's contexts in order, each inputs (n, features) and labels (n,); a test of the same form, by
    context; the initial weights by name."""

    seed: int
    contexts: list[tuple[Tensor, Tensor]]
    tests: list[tuple[Tensor, Tensor]]
    weights: dict[str, Tensor]

    def net(self) -> Net:
        """The initial model."""
        net = Net(self.contexts[0][0].shape[1])
        net.load_state_dict(self.weights)
        return net

    def save(self, path: Path) -> None:
        """Write it, as plain arrays."""
        arrays = {f"weight {name}": tensor.numpy() for name, tensor in self.weights.items()}
        for kind, parts in (("context", self.contexts), ("test", self.tests)):
            for k, (inputs, labels) in enumerate(parts):
                arrays |= {f"{kind} {k} inputs": inputs.numpy(), f"{kind} {k} labels": labels.numpy()}
        with path.open("wb") as file:
            np.savez(file, seed=np.array(self.seed), **arrays)

    @classmethod
    def load(cls, path: Path) -> Stream:
        """Read what `save` wrote."""
        with np.load(path) as file:
            arrays = {name: torch.from_numpy(file[name]) for name in file.files}

        def parts(kind: str) -> list[tuple[Tensor, Tensor]]:
            return [(arrays[f"{kind} {k} inputs"], arrays[f"{kind} {k} labels"]) for k in range(CONTEXTS)]

        prefix = "weight "
        weights = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
        return cls(int(arrays["seed"]), parts("context"), parts("test"), weights)


class Side(Protocol):
    """One method of one framework, ready to learn a stream."""

    def learn(self, context: int) -> None:
        """Learn a context's rows once, in order, and be told of its end."""

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs (n, 10), in evaluation mode."""


Make = Callable[[Stream], Side]


def run(make: Make, stream: Stream) -> dict[str, object]:
    """The accuracy matrix (moments, contexts), CPU microseconds per row, whether all outputs were finite."""
    random.seed(stream.seed)
    np.random.seed(stream.seed)
    torch.manual_seed(stream.seed)
    side, matrix, seconds, finite = make(stream), [], 0.0, True
    for context in range(CONTEXTS):
        start = time.process_time()
        side.learn(context)
        seconds += time.process_time() - start
        accuracies = []
        for inputs, labels in stream.tests:
            with torch.no_grad():
                outputs = side.outputs(inputs)
            finite = finite and bool(outputs.isfinite().all())
            accuracies.append((outputs.argmax(1) == labels).double().mean().item())
        matrix.append(accuracies)
    rows = sum(len(labels) for _, labels in stream.contexts)
    return {"matrix": matrix, "us_per_row": seconds / rows * 1e6, "finite": finite}
