"""Synaptic intelligence (Zenke et al. 2017): a weight matters by how much its path lowered the loss.

    w <- w - g * (move of theta) at every step,   Omega <- Omega + relu(w) / (Delta^2 + xi) at the end,
    L = CE(fresh) + c * sum_i Omega_i (theta_i - theta*_i)^2

g is the gradient of the loss alone, without the penalty's; the move is the one that was committed, under
any optimizer and after any rule; Delta is the whole way of the context. No row is kept and no gradient is
computed twice.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tenuto import trees
from tenuto.config import Limits
from tenuto.methods.shared.quadratic import Quadratic
from tenuto.methods.shared.recipe import Recipe
from tenuto.protocols import View
from tenuto.trees import Tree, leaves
from tenuto.types import State, Trace


class Path:
    """What each weight did for the loss on its way.

    Args:
        c, xi: as in `recipe`.
    """

    def __init__(self, c: float, xi: float) -> None:
        self._c = c
        self._xi = xi
        self._pull = Quadratic()
        self._work: Tree = {}
        self._moved: Tree = {}

    def penalty_gradient(self, params: Tree, onto: Tree | None = None) -> Tree | None:
        """2 c Omega (theta - theta*), with 2 c Omega no more than 1 / learning_rate."""
        return self._pull.gradient(params, onto)

    def protect(self, factor: float) -> None:
        """Pull so many times as hard."""
        self._pull.protect(factor)

    def observe(self, trace: Trace) -> None:
        """Add up the work of this step, and the way of what the anchor does not know."""
        grads, update = trace.estimate.grads, trace.update
        self._work = trees.follow(self._work, grads)
        torch._foreach_addcmul_(leaves(self._work), leaves(grads), leaves(update.tree), value=-update.scale)
        anchor = self._pull.anchor
        new = {n: g for n, g in grads.items() if n not in anchor or anchor[n].shape != g.shape}
        if new:
            self._moved = trees.follow(self._moved, new)
            moves = [update.tree[name] for name in new]
            torch._foreach_add_(leaves(self._moved), moves, alpha=update.scale)

    def consolidate(self, view: View) -> None:
        """Turn work into importance, and begin another way here."""
        if not self._work:
            return
        work = trees.follow(self._work, view.params)
        precision = {name: self._precision(work[name], self._way(name, p)) for name, p in view.params.items()}
        self._pull.renew(precision, view.params, view.objective.learning_rate)
        self._work, self._moved = {}, {}

    def _way(self, name: str, parameter: Tensor) -> Tensor:
        """How far a parameter went in this context; rows gained on the way, since they are there."""
        now, anchor = parameter.detach(), self._pull.anchor.get(name)
        if anchor is not None and anchor.shape == now.shape:
            return now - anchor
        way = trees.follow(self._moved, {name: now})[name].clone()
        if anchor is not None:
            way[: len(anchor)] = now[: len(anchor)] - anchor
        return way

    def _precision(self, work: Tensor, moved: Tensor) -> Tensor:
        return 2 * self._c * work.relu() / (moved.square() + self._xi)

    def state(self) -> State:
        """Precision and anchor, and beside them work and way in the present context."""
        return {**self._pull.state(), "work": dict(self._work), "moved": dict(self._moved)}

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        self._pull.load_state(state)
        self._work, self._moved = trees.copy(state["work"]), trees.copy(state["moved"])


def recipe(
    c: Annotated[float, Limits(low=0.0, usual=(0.01, 1.0))] = 0.1,
    xi: Annotated[float, Limits(low=1e-12, usual=(1e-3, 1.0), unit="squared weight")] = 0.1,
) -> Recipe:
    """SI; the defaults are the paper's on permuted digits.

    Args:
        c: strength of the penalty; 1 holds a weight by as much as it lowered the loss. No weight is pulled by
            more than 1 / learning_rate.
        xi: keeps the importance of a weight that hardly moved finite.

    >>> recipe().context
    0
    """
    return Recipe(name="si", penalties=(Path(c, xi),))
