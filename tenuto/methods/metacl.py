"""A MAML-style continual learner (Finn et al. 2017; Javed & White 2019): learn what can be added to.

theta_(j+1) = theta_j - a grad L(theta_j; support)       from theta_0 = theta, j < k
theta <- theta - lr * grad L(theta_k; query and replayed rows)

Support is the first half of the fresh rows, query the other; the replayed rows are never adapted on. The
gradient is taken at theta_k (first order), or with respect to theta through all k steps (second order).
Asked before any adaptation, the model knows of new rows what theta_k left to learn: to first order the
rate of the steps must stay small. A single fresh row is support alone and the replayed rows its query;
with no memory either, it is both.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch

from tenuto import trees
from tenuto.config import Limits
from tenuto.methods.shared.batches import part
from tenuto.methods.shared.lookahead import excursion, glance, gradient
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.protocols import Objective
from tenuto.trees import Tree
from tenuto.types import Batch, Estimate


def adapted(
    objective: Objective, params: Tree, batch: Batch, *, steps: int, rate: float | None, second_order: bool
) -> Estimate:
    """The gradient of the query's loss after a few steps on the support."""
    loss, outputs = glance(objective, params, batch)
    support, query = halves(batch)
    step = objective.learning_rate if rate is None else rate
    with excursion(objective.module, params):
        ahead = params
        for _ in range(steps):
            grads = gradient(objective, ahead, support, graph=second_order)
            ahead = trees.add(ahead, grads, alpha=-step)
        outer, _ = objective(ahead, query)
        found = torch.autograd.grad(outer, trees.leaves(params), materialize_grads=True)
    return Estimate(loss, outputs, trees.like(params, found))


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """Support and query; the query holds every replayed row."""
    half = (batch.fresh + 1) // 2
    support = part(batch, slice(0, half))
    return support, part(batch, slice(half, None)) if half < len(batch) else support


def recipe(
    steps: Annotated[int, Limits(low=1, high=100, usual=(1, 10), unit="steps")] = 1,
    rate: Annotated[float | None, Limits(low=0.0, high=10.0, usual=(1e-3, 0.5))] = 0.01,
    second_order: bool = False,
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.3, 0.9), unit="rows / rows")] = None,
) -> Recipe:
    """A MAML-style continual learner.

    Args:
        steps: on the support.
        rate: of those steps; None: the learner's `learning_rate`.
        second_order: differentiate through the steps?
        ratio: replayed / all rows; None: the learner's `replay_ratio`.

    >>> recipe().name
    'metacl'
    """
    look = partial(adapted, steps=steps, rate=rate, second_order=second_order)
    return Recipe(name="metacl", estimator=look, replay=(Replay(ratio=ratio),))
