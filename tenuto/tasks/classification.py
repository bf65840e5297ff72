"""Classification: a target is a label, an int or a str; each known label has a column.

The loss is the cross-entropy of the label's column, in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tenuto.errors import ExampleError, NothingLearned
from tenuto.types import Label, Prediction, State


class Classification:
    """Labels and their columns.

    Args:
        classes: labels of the first columns.

    >>> task = Classification(["cat", "dog"])
    >>> task.encode(["dog", "cat"]).tolist()
    [1, 0]
    """

    categorical = True

    def __init__(self, classes: Sequence[Label] = ()) -> None:
        self.classes: list[Label] = []
        self._column: dict[Label, int] = {}
        self.grow(classes)

    def grow(self, labels: Sequence[Label]) -> None:
        """Give each label the next column."""
        for label in labels:
            self._column[label] = len(self.classes)
            self.classes.append(label)
        self._kinds = {type(label) for label in self.classes[:1]}

    def shrink(self, count: int) -> None:
        """Take back all but the first `count` labels."""
        for label in self.classes[count:]:
            del self._column[label]
        del self.classes[count:]
        self.grow(())

    def unknown(self, targets: Any, columns: int) -> list[Label]:
        """Labels that have no column yet, in row order; a label of another type is refused.

        Args:
            columns: how many the model has. If the first label is an int, they are 0 .. columns - 1;
                names claim them in order of appearance.
        """
        labels = _labels(targets)
        self._check(labels)
        new = dict.fromkeys(label for label in labels if label not in self._column)
        if not self.classes and isinstance(labels[0], int):
            return [*range(columns), *(label for label in new if not 0 <= label < columns)]
        return list(new)

    def encode(self, targets: Any) -> Tensor | None:
        """Columns (n,) int64 of n labels, or None where one of them is unknown or of another type."""
        column, labels = self._column, _labels(targets)
        if {*map(type, labels)} != self._kinds:
            return None
        try:
            columns = [column[label] for label in labels]
        except KeyError:
            return None
        if columns == labels and isinstance(targets, Tensor) and targets.dtype == torch.int64:
            return targets
        return torch.tensor(columns)

    def groups(self, targets: Tensor) -> Tensor:
        """The class of each row: what balanced memories balance over."""
        return targets

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy (n,) of each row, in nats."""
        return F.cross_entropy(outputs, targets, reduction="none")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(outputs, targets)

    def right(self, outputs: Tensor, targets: Tensor) -> list[bool]:
        """Which of n rows were answered right."""
        return list(map(int.__eq__, outputs.argmax(1).tolist(), targets.tolist()))

    def answer(self, outputs: Tensor) -> Prediction:
        """Labels and probabilities for outputs (n, c)."""
        classes = self.classes or list(range(outputs.shape[1]))
        if not classes:
            raise NothingLearned("no class is known yet: learn at least one example before predicting")
        known = outputs[:, : len(classes)]
        labels = [classes[i] for i in known.argmax(1).tolist()]
        return Prediction(labels, outputs, known.softmax(1), tuple(classes))

    def state(self) -> State:
        """The labels in column order."""
        return {"classes": list(self.classes)}

    def load_state(self, state: State) -> None:
        """Take saved labels."""
        self.classes, self._column = [], {}
        self.grow(state["classes"])

    def _check(self, labels: list[Any]) -> None:
        first = self.classes[0] if self.classes else labels[0]
        for label in labels:
            if type(label) not in (int, str):
                raise ExampleError(f"label {label!r} is a {type(label).__name__}; labels are int or str")
            if type(label) is not type(first):
                raise ExampleError(
                    f"label {label!r} is a {type(label).__name__}; labels here are {type(first).__name__} "
                    f"(as {first!r}); convert it, or learn it with a learner of its own"
                )


def _labels(targets: Any) -> list[Any]:
    if isinstance(targets, Tensor | np.ndarray):
        labels: list[Any] = targets.tolist()
        return labels
    return [t.tolist() if isinstance(t, np.generic | np.ndarray | Tensor) else t for t in targets]
