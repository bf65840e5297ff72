"""Small learners, and the streams that every contract check walks them along."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.optimizers import Factory

Make = Callable[[int], Learner]
"""A learner under a seed; every call makes a new one."""
Walk = Sequence[Batch | None]
"""Batches to learn; None: consolidate."""

FEATURES = 4
CLASSES = ("ant", "bee", "cow", "doe", "eel")
CONFIG = OnlineLearnerConfig(learning_rate=0.05, memory_size=12, hidden=(8,), batch_size=3)
OPTIMIZERS: dict[str, tuple[dict[str, Any], Factory | None]] = {
    "sgd": ({}, None),
    "momentum": ({"momentum": 0.9, "weight_decay": 0.01}, None),
    "adamw": ({"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}, None),
    "rmsprop": ({}, lambda params: torch.optim.RMSprop(params, lr=0.01, momentum=0.5)),
    "nadam": ({}, lambda params: torch.optim.NAdam(params, lr=0.01)),
}
OPTIONS: dict[str, dict[str, Any]] = {"gdumb": {"epochs": 3}}
"""Of methods that would pass over their memory too often for a small check."""


def normed(outputs: int = len(CLASSES)) -> nn.Module:
    """A user's model with batch statistics and randomness of its own, the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return nn.Sequential(
            nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, outputs)
        )


def lowrank() -> nn.Module:
    """A frozen network of two layers with low-rank adapters on both, the same at every call."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng():
        torch.manual_seed(11)
        base = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, len(CLASSES)))
        adapted: nn.Module = get_peft_model(base, LoraConfig(r=2, target_modules=["0", "2"]))
    return adapted


def maker(
    method: str = "er",
    *,
    head: str = "grow",
    model: Callable[[], nn.Module] | None = None,
    optimizer: str = "sgd",
    **settings: Any,
) -> Make:
    """How to make a learner of a method."""
    changes, factory = OPTIMIZERS[optimizer]
    known = CLASSES if head == "fixed" else None
    config = replace(CONFIG, head=head, classes=known, **changes, **settings)

    def make(seed: int) -> Learner:
        seeded = replace(config, seed=seed)
        options = OPTIONS.get(method)
        return Learner(model() if model else None, seeded, method=method, options=options, optimizer=factory)

    return make


def rows(labels: str, *, seed: int = 0, scale: float = 1.0, **beside: Any) -> Batch:
    """A batch with a row for each initial of a class: rows("aab") is two ants and a bee."""
    found = [next(name for name in CLASSES if name[0] == initial) for initial in labels]
    rng = np.random.default_rng([seed, len(labels)])
    centres = np.array([[CLASSES.index(name), len(name), -CLASSES.index(name), 1.0] for name in found])
    inputs = torch.from_numpy((centres + rng.normal(size=centres.shape)) * scale).float()
    return Batch(inputs, found, **beside)


WALK: Walk = (
    rows("ab", seed=1),
    rows("bba", seed=2),
    rows("aabb", seed=3, weights=torch.tensor([1.0, 2.0, 0.5, 1.0])),
    rows("abab", seed=4, domains=["one", "one", None, "two"]),
    None,
    rows("ca", seed=5),
    rows("abcba", seed=6),
    rows("dce", seed=7, domains=["two", "two", "two"]),
    None,
    rows("edcba", seed=8),
    rows("ee", seed=9),
)
"""Batches of several sizes, classes that appear on the way, weights, contexts, consolidations."""


def numbers(walk: Walk) -> Walk:
    """The same rows with two numbers to regress instead of a label."""
    return [None if b is None else Batch(b.inputs, _sums(b.inputs), b.weights, b.domains) for b in walk]


def _sums(inputs: Tensor) -> Tensor:
    return torch.stack([inputs.sum(1), inputs[:, 0] - inputs[:, 1]], 1) / 5


def go(learner: Learner, walk: Walk) -> None:
    """Walk a learner along."""
    for batch in walk:
        if batch is None:
            learner.consolidate()
        else:
            learner.learn_batch(batch)


def generators() -> list[Any]:
    """The state of every global generator."""
    return [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]


def questions(n: int = 7) -> Tensor:
    """Rows to predict."""
    return rows("abcdeab"[:n], seed=99).inputs


def asked(walk: Walk, n: int = 7) -> Tensor:
    """At most n rows of a walk's kind to predict."""
    first = next(batch for batch in walk if batch is not None)
    return questions(n) if first.inputs.shape[1:] == (FEATURES,) else first.inputs[:n]
