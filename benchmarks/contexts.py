"""Class-incremental runs: classes in contexts of `per` (ten digits by two), learned in one pass.

Which rows a seed sees, and in which order, is a pure function of the seed: every method of one seed
learns the same stream from the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import data
from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.evaluation import AccuracyMatrix
from tenuto.models import MLP
from tenuto.randomness import permutation, torch_draws
from tenuto.streams import idx

BATCH, MEMORY, RATE = 10, 500, 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Rows to learn, inputs (n, features) and labels (n,) from 0 on, and rows to test on.

    Args:
        per: classes in a context; labels are numbered context by context.
        held: inputs and labels to choose on; None: a sixth of the rows to learn.
    """

    inputs: Tensor
    labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    per: int = 2
    held: tuple[Tensor, Tensor] | None = None

    @property
    def classes(self) -> int:
        """Classes to tell apart."""
        return int(self.labels.max()) + 1

    def validation(self) -> Rows:
        """The same stream with the rows held out as the test; the true test is left out."""
        if self.held is not None:
            return replace(self, test_inputs=self.held[0], test_labels=self.held[1])
        order = torch.from_numpy(permutation(0, "validation", len(self.labels)))
        test, learn = order.tensor_split([len(order) // 6])
        return Rows(
            inputs=self.inputs[learn],
            labels=self.labels[learn],
            test_inputs=self.inputs[test],
            test_labels=self.labels[test],
        )

    def contexts(self, seed: int, count: int | None) -> list[Tensor]:
        """For each context the numbers of its rows in random order, at most `count` of them."""
        found = []
        for context in range(self.classes // self.per):
            rows = (self.labels // self.per == context).nonzero()[:, 0]
            order = permutation(seed, f"context {context}", len(rows))[:count]
            found.append(rows[torch.from_numpy(order)])
        return found

    def accuracies(self, labels: Tensor) -> tuple[list[float], float]:
        """The accuracy of predicted test labels on each context, and on the whole test."""
        right = (labels == self.test_labels).double()
        context = self.test_labels // self.per
        averages = [right[context == c].mean().item() for c in range(self.classes // self.per)]
        return averages, right.mean().item()


def mnist() -> Rows:
    """MNIST: 60,000 and 10,000 rows of 784 bytes."""
    inputs, labels = _images("train")
    test_inputs, test_labels = _images("t10k")
    return Rows(inputs=inputs, labels=labels, test_inputs=test_inputs, test_labels=test_labels)


def digits() -> Rows:
    """scikit-learn's digits: 1,797 rows of 64 pixels, a quarter of them to test on."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    inputs = torch.from_numpy(bunch.data).float() / 16
    labels = torch.from_numpy(bunch.target).long()
    order = torch.from_numpy(permutation(0, "digits", len(labels)))
    test, learn = order.tensor_split([len(order) // 4])
    return Rows(
        inputs=inputs[learn], labels=labels[learn], test_inputs=inputs[test], test_labels=labels[test]
    )


SOURCES = {"mnist": mnist, "digits": digits}


def _images(part: str) -> tuple[Tensor, Tensor]:
    path = data("mnist") / f"{part}-images-idx3-ubyte.gz"
    arrays = idx.load(path, idx.labels(path))
    return torch.from_numpy(arrays.inputs).flatten(1), torch.tensor(arrays.targets)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """How a method is run.

    Args:
        method: its name in the library.
        options: its own options.
        config: the learner's settings that differ from the protocol's.
        iid: are the same rows learned in random order, contexts mixed?
        consolidates: is the learner told when a context ends?
    """

    method: str
    options: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    iid: bool = False
    consolidates: bool = False

    def __str__(self) -> str:
        return " ".join(f"{k}={v}" for k, v in (*self.options.items(), *self.config.items())) or "defaults"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one seed gave.

    Args:
        matrix: accuracies (moments, contexts).
        overall: accuracy on the whole test at the end.
        refused: rows whose update the guard rejected: above 0, the run diverged.
        seconds: CPU time spent learning.
    """

    matrix: list[list[float]]
    overall: float
    refused: int
    seconds: float

    @property
    def average(self) -> float:
        """Accuracy at the end, averaged over all contexts."""
        return sum(self.matrix[-1]) / len(self.matrix[-1])

    @property
    def forgetting(self) -> float | None:
        """Best accuracy a context ever had, less its accuracy at the end; None where contexts were mixed."""
        return AccuracyMatrix(values=self.matrix).forgetting


def learn(
    rows: Rows, setting: Setting, seed: int, *, count: int | None, head: str, every: bool = True
) -> Run:
    """Learn one stream; test after every context, or after the last alone."""
    fixed = {"seed": seed, "batch_size": BATCH, "learning_rate": RATE, "memory_size": MEMORY, "head": head}
    config = {**fixed, **setting.config}
    with torch_draws(seed, "model", 0):
        model = MLP(rows.inputs.shape[1], (400, 400), 10 if head == "fixed" else 0)
    learner = Learner(model, OnlineLearnerConfig.of(config), method=setting.method, options=setting.options)
    parts = rows.contexts(seed, count)
    if setting.iid:
        mixed = torch.cat(parts)
        parts = [mixed[torch.from_numpy(permutation(seed, "iid", len(mixed)))]]
    matrix, overall, seconds = [], 0.0, 0.0
    for part in parts:
        start = time.process_time()
        for batch in part.split(learner.config.batch_size):
            learner.learn_batch(Batch(rows.inputs[batch], rows.labels[batch]))
        if setting.consolidates:
            learner.consolidate()
        seconds += time.process_time() - start
        if every or part is parts[-1]:
            accuracies, overall = rows.accuracies(torch.tensor(learner.predict(rows.test_inputs).labels))
            matrix.append(accuracies)
    return Run(matrix=matrix, overall=overall, refused=learner.stats.refused, seconds=seconds)
