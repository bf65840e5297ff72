"""Class-incremental streams: rows of new classes, context after context, and rows to test each on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tenuto.errors import ConfigError
from tenuto.randomness import permutation

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contexts:
    """A stream in contexts. Nothing in its rows says which context they belong to.

    Args:
        names: one per context.
        inputs: (n, d) rows in the order to learn them.
        labels: (n,) their labels.
        ids: n names of the rows.
        ends: how many rows there are up to the end of each context.
        tests: per context the inputs (m, d) and labels (m,) to test it on.
    """

    names: tuple[str, ...]
    inputs: Floats
    labels: Ints
    ids: tuple[str, ...]
    ends: tuple[int, ...]
    tests: tuple[tuple[Floats, Ints], ...]

    def write(self, path: Path, *, without: str | None = None) -> Path:
        """Write the stream as JSON lines, perhaps without the row of one id; the path."""
        with path.open("w", encoding="utf-8") as file:
            for id, input, label in zip(self.ids, self.inputs.tolist(), self.labels.tolist(), strict=True):
                if id != without:
                    file.write(json.dumps({"id": id, "input": input, "target": label}) + "\n")
        return path


def class_incremental(
    inputs: Floats, labels: Ints, *, seed: int, per_context: int, batch: int, test: float = 0.25
) -> Contexts:
    """Cut rows into contexts of new classes, in the classes' order.

    Of each class the same share is kept for the test. A context's rows come in random order, as many
    as fill whole batches, so that no batch holds rows of two contexts.

    Args:
        inputs, labels: (n, d) and (n,).
        seed: key of the split and of the order.
        per_context: new classes per context.
        batch: rows that a context's length is a multiple of.
        test: the share of each class to test on.

    >>> rows = np.arange(80, dtype=np.float32).reshape(40, 2)
    >>> made = class_incremental(rows, np.arange(40) % 4, seed=0, per_context=2, batch=5)
    >>> made.names, made.ends, sorted(set(made.labels[:15].tolist()))
    (('0, 1', '2, 3'), (15, 30), [0, 1])
    """
    classes = sorted(set(labels.tolist()))
    groups = [classes[start : start + per_context] for start in range(0, len(classes), per_context)]
    learned, tested = [], []
    for number, group in enumerate(groups):
        parts = [_split(np.flatnonzero(labels == label), seed, f"split {label}", test) for label in group]
        rows = np.concatenate([train for train, _ in parts])
        rows = rows[permutation(seed, f"context {number}", len(rows))]
        learned.append(rows[: len(rows) // batch * batch])
        tested.append(np.concatenate([held for _, held in parts]))
    order = np.concatenate(learned)
    return Contexts(
        names=tuple(", ".join(map(str, group)) for group in groups),
        inputs=inputs[order],
        labels=labels[order],
        ids=tuple(f"row-{row}" for row in order.tolist()),
        ends=tuple(accumulate(len(rows) for rows in learned)),
        tests=tuple((inputs[rows], labels[rows]) for rows in tested),
    )


def digits(seed: int, *, batch: int) -> Contexts:
    """scikit-learn's handwritten digits, two new ones per context, as pixels in [0, 1].

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ConfigError(
            "the demo's data comes with scikit-learn, which is not installed: pip install 'tenuto[demo]'"
        ) from error
    found = load_digits()
    inputs = (found.data / 16).astype(np.float32)
    return class_incremental(inputs, found.target.astype(np.int64), seed=seed, per_context=2, batch=batch)


def _split(rows: Ints, seed: int, purpose: str, test: float) -> tuple[Ints, Ints]:
    """The rows to learn and those to test on."""
    shuffled = rows[permutation(seed, purpose, len(rows))]
    held = round(len(rows) * test)
    return shuffled[held:], shuffled[:held]


def accuracies(answers: Sequence[Sequence[int]], contexts: Contexts) -> list[float]:
    """The share of each context's test rows that was answered right."""
    return [
        float(np.mean(np.asarray(said) == labels))
        for said, (_, labels) in zip(answers, contexts.tests, strict=True)
    ]
