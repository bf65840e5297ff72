"""Meta-experience replay (MER, Riemer et al. 2019), one big batch: a walk over its rows.

theta_j = theta_(j-1) - a grad L(theta_(j-1); row j), over all k fresh and replayed rows in random order
theta <- theta_0 + gamma (theta_k - theta_0)

A step is over one row as in the paper, or over `group` rows, as in the code of Buzzega et al. (2020).

This is Reptile (Nichol et al. 2018), whose expected step rewards rows whose gradients agree. It is the
paper's variant that walks through one batch rather than through several that each hold the fresh row.
The gradient handed on is (theta_0 - theta_k) gamma / lr, so that plain SGD lands at theta; an optimizer
with moments takes it as it takes any gradient. Running statistics move once, with the joined batch.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch

from tenuto import trees
from tenuto.config import Limits
from tenuto.methods.shared.batches import rows
from tenuto.methods.shared.lookahead import excursion, glance, gradient, per_rate
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.protocols import Objective, View
from tenuto.randomness import span, uniform
from tenuto.trees import Tree
from tenuto.types import Batch, Estimate, State, Trace


class Walk:
    """The way of SGD over single rows, as a gradient.

    Args:
        gamma: the share of the way that is kept.
        rate: of the steps; None: the learner's.
        walks: passes over the rows.
        group: rows of a step of the walk.
    """

    def __init__(self, gamma: float, rate: float | None, walks: int, group: int = 1) -> None:
        self._gamma = gamma
        self._rate = rate
        self._walks = walks
        self._group = group
        self._steps = 0

    def __call__(self, objective: Objective, params: Tree, batch: Batch) -> Estimate:
        """Walk on the live parameters, and come back."""
        loss, outputs = glance(objective, params, batch)
        rate = objective.learning_rate if self._rate is None else self._rate
        start = trees.copy(params)
        with excursion(objective.module, params):
            for few in rows(batch, self.order(objective.seed, len(batch)), self._group):
                grads = gradient(objective, params, few)
                with torch.no_grad():
                    trees.accumulate(params, grads, alpha=-rate)
            with torch.no_grad():
                way = trees.add(start, params, alpha=-1.0)
        return Estimate(loss, outputs, per_rate(trees.scale(way, self._gamma), objective.learning_rate))

    def order(self, seed: int, n: int) -> list[int]:
        """The n rows' numbers as this step walks through them, `walks` times over."""
        keys = uniform(seed, "mer", span(self._steps, n * self._walks)).reshape(self._walks, n)
        order: list[int] = np.argsort(keys, axis=1, kind="stable").flatten().tolist()
        return order

    def observe(self, trace: Trace) -> None:
        """The next step walks in another order."""
        self._steps = trace.step + 1

    def consolidate(self, view: View) -> None:
        """Contexts do not matter here."""

    def state(self) -> State:
        """The number of the step, which keys the order."""
        return {"steps": self._steps}

    def load_state(self, state: State) -> None:
        """Take a saved number."""
        self._steps = int(state["steps"])


def recipe(
    gamma: Annotated[float, Limits(low=0.0, high=10.0, usual=(0.03, 1.0))] = 1.0,
    rate: Annotated[float | None, Limits(low=0.0, high=10.0, usual=(1e-3, 0.1))] = None,
    walks: Annotated[int, Limits(low=1, high=100, usual=(1, 5), unit="passes")] = 1,
    group: Annotated[int, Limits(low=1, usual=(1, 128), unit="rows")] = 1,
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.3, 0.9), unit="rows / rows")] = None,
    rows: Annotated[int | None, Limits(low=1, usual=(10, 128), unit="rows")] = None,
) -> Recipe:
    """MER.

    Args:
        gamma: the share of the way that is kept.
        rate: of the steps of the walk; None: the learner's `learning_rate`.
        walks: passes over the rows of a batch.
        group: rows of a step of the walk.
        ratio: replayed / all rows; None: the learner's `replay_ratio`.
        rows: replayed beside each batch, whatever the ratio; None: as many as the ratio says.

    >>> sorted(recipe(walks=1).estimator.order(0, 3))
    [0, 1, 2]
    """
    return Recipe(
        name="mer", estimator=Walk(gamma, rate, walks, group), replay=(Replay(ratio=ratio, rows=rows),)
    )
