"""Oversight: held-out answers as entries of the journal, and the snapshot to go back to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from tenuto import guards
from tenuto.config import Limits, check
from tenuto.errors import ConfigError
from tenuto.learner import Learner
from tenuto.store.cursor import Cursor, Place
from tenuto.store.home import Home
from tenuto.types import Batch

TOGETHER = 16
"""Rows of language that are asked at once."""


class Audits:
    """Held-out rows that a learner is asked every so many steps.

    Args:
        learner: with a guard that audits.
        held_out: the rows, the same every time.
        every: steps from one audit to the next; None: none is due by itself.

    Raises:
        ConfigError: no guard of this learner audits, its task has no right answers, or the rows are too few
            or others than were asked before.
    """

    def __init__(self, learner: Learner, held_out: Batch, every: int | None) -> None:
        auditor = guards.auditor(learner.guard)
        if auditor is None:
            raise ConfigError(
                f"guard {learner.config.guard!r} audits nothing; add one that does, as in finite+retention"
            )
        if learner.config.task == "regression":
            raise ConfigError("an audit counts right answers, and a regression has none")
        check("every", every, int | None, Limits(low=10))
        self._inputs, self._labels, self._every = held_out.inputs, list(held_out.targets), every
        spoken = [""] * len(self._labels) if learner.config.task == "language" else self._labels
        names = [str(name) for name in held_out.domains or spoken]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        self._groups = [numbers[name] for name in names]
        self._stretch: int | None = None
        auditor.check(torch.tensor(self._groups))

    def due(self, home: Home, k: int) -> bool:
        """Does step k open a stretch of `every` steps that has no audit yet?

        Asked after every step. Where steps were taken back, or none was asked about before, the ledger knows.
        """
        if self._every is None or (stretch := k // self._every) == self._stretch:
            return False
        before, self._stretch = self._stretch, stretch
        if before is not None and stretch > before:
            return True
        return stretch > 0 and home.ledger.audited() < stretch * self._every

    def answers(self, learner: Learner) -> dict[str, Any]:
        """Which rows are answered right, a bit each, and the group of each by number."""
        right = self._right(learner)
        return {"right": np.packbits(np.array(right)).tobytes(), "groups": self._groups}

    def _right(self, learner: Learner) -> list[bool]:
        if learner.config.task == "language":
            return [one for part in self._parts() for one in _given(learner, *part)]
        found = learner.predict(self._inputs).labels
        return [answer == label for answer, label in zip(found, self._labels, strict=True)]

    def _parts(self) -> Iterator[tuple[Any, list[Any]]]:
        """Some rows at a time: each token's answer is as wide as the vocabulary."""
        for start in range(0, len(self._labels), TOGETHER):
            part = slice(start, start + TOGETHER)
            yield self._inputs[part], self._labels[part]


def _given(learner: Learner, inputs: Any, targets: list[Any]) -> list[bool]:
    """Which answers of a language model would be given token by token."""
    encoded = learner.task.encode(targets)
    right = None if encoded is None else learner.task.right(learner.outputs(inputs), encoded)
    if right is None:
        raise ConfigError("an audit counts right answers, and this task has none")
    return right


def place(home: Home, snapshot: str | int | None, *, frozen: bool) -> Place:
    """Where a snapshot stands. None: the newest from before the present step; of a frozen learner, the newest
    from no later than the last good audit. Raises ConfigError where there is none."""
    if snapshot is not None:
        return Cursor.of(home.snapshots.find(snapshot).cursor).place
    k = home.ledger.audited() if frozen else home.ledger.head.k - 1
    for row in home.snapshots.list():
        if row.k <= k:
            return Cursor.of(row.cursor).place
    raise ConfigError(f"{home.path} keeps no snapshot of step {k} or before")
