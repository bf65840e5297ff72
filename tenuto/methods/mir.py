"""Maximally interfered retrieval (MIR, Aljundi et al. 2019): replay what the fresh rows would spoil.

theta_v = theta - lr * grad L(fresh)
replay the k of C candidates of the largest l(theta_v) - l(theta)

The look ahead is a plain gradient step whatever the optimizer. Candidates are judged in evaluation
mode, so that no noise of dropout decides, each by its own loss without its weight.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tenuto import trees
from tenuto.config import Limits
from tenuto.methods.shared.batches import chosen, fresh, part
from tenuto.methods.shared.estimators import plain
from tenuto.methods.shared.lookahead import excursion, gradient
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.modes import evaluating
from tenuto.protocols import Objective
from tenuto.trees import Tree
from tenuto.types import Batch, Estimate


def interfered(objective: Objective, params: Tree, batch: Batch) -> Estimate:
    """The estimate on the fresh rows and as many candidates as the draw "replay" has rows."""
    if "candidates" not in batch.draws:
        return plain(objective, params, batch)
    rises = rise(objective, params, batch)
    if "replay" not in batch.draws:
        picks = rises.new_zeros(0, dtype=torch.int64)
    else:
        picks = rises.argsort(descending=True, stable=True)[: len(batch.draws["replay"].slots)]
    few = chosen(batch, "replay", "candidates", picks) if len(picks) else fresh(batch)
    estimate = plain(objective, params, few)
    return Estimate(estimate.loss, estimate.outputs, estimate.grads, few, parts=estimate.parts)


def rise(objective: Objective, params: Tree, batch: Batch) -> Tensor:
    """How much a step on the fresh rows would raise each candidate's loss: (C,), in nats."""
    with excursion(objective.module, params):
        grads = gradient(objective, params, fresh(batch))
        candidates = part(batch, batch.draws["candidates"].rows)
        with torch.no_grad(), evaluating(objective.module):
            before = _losses(objective, params, candidates)
            trees.accumulate(params, grads, alpha=-objective.learning_rate)
            return _losses(objective, params, candidates) - before


def _losses(objective: Objective, params: Tree, batch: Batch) -> Tensor:
    return objective.task.losses(objective.outputs(params, batch.inputs), batch.targets)


def recipe(
    candidates: Annotated[int, Limits(low=1, usual=(20, 200), unit="rows")] = 50,
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.3, 0.5), unit="rows / rows")] = None,
) -> Recipe:
    """MIR.

    Args:
        candidates: rows drawn from memory to choose from; no more of them can be replayed.
        ratio: replayed / all rows; None: the learner's `replay_ratio`.

    >>> [draw.name for draw in recipe().replay]
    ['replay', 'candidates']
    """
    draws = Replay(ratio=ratio), Replay("candidates", rows=candidates)
    return Recipe(name="mir", estimator=interfered, replay=draws)
