"""ER-ACE (Caccia et al. 2022): fresh rows do not push down the classes they do not hold.

L = CE(fresh rows, over the classes among the fresh rows) + CE(replayed rows, over all classes)

A class that is not among the fresh rows has no say in their softmax, be it an earlier one or one
never seen (a column of a fixed head that waits for its class): those are left to the replayed rows,
whose softmax is over every column. Fresh rows of one class alone therefore teach nothing until they
are replayed. Where there are no classes the first term is the task's own loss.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tenuto.config import Limits
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.methods.shared.terms import Supervised
from tenuto.protocols import Forward


class Present:
    """The mean cross-entropy of the fresh rows over the classes present among them, in nats."""

    needs: frozenset[str] = frozenset()

    def __call__(self, forward: Forward) -> Tensor:
        """A scalar; rows count by their weights."""
        batch, task, n = forward.batch, forward.task, forward.batch.fresh
        outputs, targets = forward.outputs[:n], batch.targets[:n]
        if task.classes:
            absent = torch.ones(outputs.shape[1], dtype=torch.bool, device=outputs.device)
            absent[targets] = False
            outputs = outputs.masked_fill(absent, -torch.inf)
        if batch.weights is None:
            return task.loss(outputs, targets)
        return (task.losses(outputs, targets) * batch.weights[:n]).mean()


def recipe(
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.3, 0.5), unit="rows / rows")] = None,
) -> Recipe:
    """ER-ACE.

    Args:
        ratio: replayed / all rows; None: the learner's `replay_ratio`.

    >>> len(recipe().terms)
    2
    """
    return Recipe(name="er_ace", terms=(Present(), Supervised(fresh=False)), replay=(Replay(ratio=ratio),))
