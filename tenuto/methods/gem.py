"""GEM (Lopez-Paz & Ranzato 2017): no step may raise the loss on any group of remembered rows.

    min_z |z - u|^2 / 2  such that  <z, g_k> <= 0,    solved by  z = u - G^T v,
    v = argmin_{v >= margin} v^T G G^T v / 2 - (G u)^T v

u is the move proposed by the optimizer, G (K, P) the gradient on each group. The dual has one unknown per
group and is solved by an active set (Lawson & Hanson 1974), in float64. A margin above 0 makes each step
lower the groups' losses where one of them would have risen.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenuto.config import Limits
from tenuto.methods.shared.estimators import plain
from tenuto.methods.shared.recipe import Recipe
from tenuto.protocols import Objective, Oracle, View
from tenuto.trees import Tree, leaves
from tenuto.types import Batch, Estimate, State, Trace, Update

Vector = NDArray[np.float64]


class Constraints:
    """Projects an update onto the cone of those that raise the loss of no earlier group.

    Args:
        groups: "context" or "target", as the recipe groups memory.
        most: constraints at most; beyond it groups share one.
        margin: the least multiplier, in learning rates.
    """

    def __init__(self, groups: str, most: int, margin: float) -> None:
        self._groups = groups
        self._most = most
        self._margin = margin
        self._fresh: set[int] = set()
        self._rate = 0.0

    def estimate(self, objective: Objective, params: Tree, batch: Batch) -> Estimate:
        """The plain estimate; what `project` asks of this step is noted: the rate, the fresh groups."""
        self._rate = objective.learning_rate
        if self._groups == "target":
            self._fresh = set(objective.task.groups(batch.targets[: batch.fresh]).tolist())
        return plain(objective, params, batch)

    def project(self, update: Update, oracle: Oracle) -> Update:
        """The nearest update that raises no earlier group's loss, to first order."""
        batches = self._past(oracle)
        if not batches:
            return update
        move = _flat(leaves(update.tree))
        gradients = move.new_empty(len(batches), len(move))
        for row, batch in zip(gradients, batches, strict=True):
            _flat(leaves(oracle.gradient_on(batch)), row)
        along: Vector = (gradients @ move).double().cpu().numpy() * update.scale
        if (along <= 0.0).all():
            return update
        products: Vector = (gradients @ gradients.T).double().cpu().numpy()
        v = multipliers(products, along, self._margin * self._rate)
        moved = torch.addmv(move, gradients.T, torch.from_numpy(v / -update.scale).to(move))
        return Update(_shaped(moved, update.tree), update.scale, update.linear)

    def _past(self, oracle: Oracle) -> list[Batch]:
        """The remembered rows of each constraint: where groups are too many, every `most`-th shares one."""
        found = oracle.groups()
        present = {oracle.group} if self._groups == "context" else self._fresh
        past = [batch for group, batch in found.items() if group not in present]
        return [_join(past[i :: self._most]) for i in range(min(len(past), self._most))]

    def observe(self, trace: Trace) -> None:
        """Nothing to note."""

    def consolidate(self, view: View) -> None:
        """Memory knows which context a row came in."""

    def state(self) -> State:
        """None: all it needs is in memory."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to take."""


def multipliers(products: Vector, along: Vector, margin: float = 0.0) -> Vector:
    """argmin_{v >= margin} v^T A v / 2 - b^T v, A = products (K, K) positive semidefinite, b = along (K,).

    Where a number is not finite, neither are they, nor the update then, which the guard refuses.

    >>> multipliers(np.eye(2), np.array([2.0, -1.0])).round(6).tolist()
    [2.0, 0.0]
    """
    size = len(along)
    if not (np.isfinite(products).all() and np.isfinite(along).all()):
        return np.full(size, np.nan)
    lengths = np.sqrt(products.diagonal())
    lengths[lengths == 0.0] = 1.0
    a = products / np.outer(lengths, lengths) + 1e-14 * np.eye(size)
    b = (along - margin * products.sum(1)) / lengths
    v, free = np.zeros(size), np.zeros(size, dtype=bool)
    tolerance = 1e-12 * float(np.abs(b).max())
    for _ in range(10 * size):
        slope = np.where(free, -np.inf, b - a @ v)
        if slope.max() <= tolerance:
            break
        free[slope.argmax()] = True
        v = _descend(a, b, v, free)
    return v / lengths + margin


def _descend(a: Vector, b: Vector, v: Vector, free: NDArray[np.bool_]) -> Vector:
    """The minimum over the free entries; those that would fall below 0 stop there and are bound."""
    while free.any():
        goal = np.zeros(len(v))
        goal[free] = np.linalg.solve(a[np.ix_(free, free)], b[free])
        short = free & (goal <= 0.0)
        if not short.any():
            return goal
        reach = np.where(short, v / np.where(short, v - goal, 1.0).clip(min=1e-300), np.inf)
        step = reach.min()
        v = np.where(reach <= step, 0.0, v + step * (goal - v))
        free &= v > 0.0
    return np.zeros(len(v))


def _flat(tensors: list[Tensor], into: Tensor | None = None) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors], out=into)


def _shaped(flat: Tensor, tree: Tree) -> Tree:
    pieces = torch.split(flat, [leaf.numel() for leaf in leaves(tree)])
    return {name: piece.view(leaf.shape) for (name, leaf), piece in zip(tree.items(), pieces, strict=True)}


def _join(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    weights = [batch.weights for batch in batches if batch.weights is not None]
    return Batch(
        torch.cat([batch.inputs for batch in batches]),
        torch.cat([batch.targets for batch in batches]),
        torch.cat(weights) if weights else None,
    )


def recipe(
    groups: Annotated[str, Limits(choices=("context", "target"))] = "context",
    constraints: Annotated[int, Limits(low=1, high=1000, usual=(1, 20), unit="groups")] = 20,
    margin: Annotated[float, Limits(low=0.0, usual=(0.0, 1.0), unit="learning rates")] = 0.0,
) -> Recipe:
    """GEM.

    Args:
        groups: what each constraint is over: the rows of an earlier "context", or, where nothing tells when
            one ends, the rows of a "target" class that is not among the fresh ones.
        constraints: their number at most; where there are more groups, some share one.
        margin: the least multiplier of each constraint while one is violated; in the paper 0.5.

    >>> recipe().grouping, recipe(groups="target").grouping
    ('context', 'target')
    """
    rule = Constraints(groups, constraints, margin)
    return Recipe(
        name="gem",
        estimator=rule.estimate,
        rules=(rule,),
        remembers=True,
        insertion="class_balanced",
        grouping=groups,
    )
