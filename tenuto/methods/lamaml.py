"""Look-ahead MAML (La-MAML, Gupta et al. 2020): a learned rate for every parameter.

theta_(j+1) = theta_j - alpha * grad L(theta_j; fresh rows, part j)      from theta_0 = theta, j < k
alpha <- alpha - eta * d L(theta_k; fresh and replayed rows) / d alpha
theta <- theta - relu(alpha) * d L(theta_k; the same) / d theta           with the new alpha

A rate grows where the fresh rows' gradients agree with the joined batch's and shrinks where they
interfere; below 0 the parameter waits. First order takes the gradients g_j of the steps for constants:
the derivatives are then - grad L(theta_k) * sum_j g_j and grad L(theta_k). It is cheaper, and learns what
is new only as far as a step ahead leaves it unlearned: its rates must be small.

The gradient handed on is relu(alpha) d L / lr, so that the step of plain SGD is the last line. Rates
change only with a committed step; a new output starts with `alpha`. Both derivatives are clipped, as
the authors do: where the loss is steep, differentiating through a step amplifies.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from tenuto import trees
from tenuto.config import Limits
from tenuto.methods.shared.batches import fresh, part
from tenuto.methods.shared.lookahead import clipped, excursion, glance, gradient, per_rate
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.protocols import Objective, View
from tenuto.trees import Tree
from tenuto.types import Batch, Estimate, State, Trace


class LookAhead:
    """The gradient a few steps ahead, scaled by learned rates.

    Args:
        alpha: the first rate of a parameter; None: the learner's rate.
        eta: the rate of the rates.
        steps: parts that the fresh rows are stepped over in.
        second_order: differentiate through the steps?
        clip: the longest that either gradient may be; None: no bound.
    """

    def __init__(
        self, alpha: float | None, eta: float, steps: int, second_order: bool, clip: float | None
    ) -> None:
        self._alpha = alpha
        self._eta = eta
        self._steps = steps
        self._second_order = second_order
        self._clip = math.inf if clip is None else clip
        self._rates: Tree = {}
        self._proposed: Tree = {}

    def __call__(self, objective: Objective, params: Tree, batch: Batch) -> Estimate:
        """Step ahead over the fresh rows, and look back at all rows from there."""
        loss, outputs = glance(objective, params, batch)
        rates = self.rates(params, objective.learning_rate)
        with excursion(objective.module, params):
            meta, pull = self._meta(objective, params, rates, batch)
        self._proposed = trees.add(rates, pull, alpha=-self._eta)
        open_rates = torch._foreach_clamp_min(trees.leaves(self._proposed), 0.0)
        way = trees.like(meta, torch._foreach_mul(trees.leaves(meta), open_rates))
        return Estimate(loss, outputs, per_rate(way, objective.learning_rate))

    def _meta(self, objective: Objective, params: Tree, rates: Tree, batch: Batch) -> tuple[Tree, Tree]:
        """The gradient of the last loss with respect to the parameters, and to the rates."""
        leaves = [rate.detach().requires_grad_() for rate in rates.values()]
        rows, ahead = fresh(batch), params
        for piece in torch.arange(len(rows)).tensor_split(min(self._steps, len(rows))):
            grads = gradient(objective, ahead, part(rows, piece), graph=self._second_order)
            ways = torch._foreach_mul(leaves, trees.leaves(grads))
            ahead = trees.like(params, torch._foreach_sub(trees.leaves(ahead), ways))
        last, _ = objective(ahead, batch)
        found = torch.autograd.grad(last, [*trees.leaves(params), *leaves], materialize_grads=True)
        meta, pull = found[: len(params)], found[len(params) :]
        return clipped(trees.like(params, meta), self._clip), clipped(trees.like(params, pull), self._clip)

    def rates(self, params: Tree, learning_rate: float) -> Tree:
        """alpha for every parameter as it is now; what is new since the last step starts afresh."""
        start = learning_rate if self._alpha is None else self._alpha
        return {name: _grown(self._rates.get(name), p, start) for name, p in params.items()}

    def observe(self, trace: Trace) -> None:
        """The step was kept, and so are its rates."""
        self._rates, self._proposed = self._proposed, {}

    def consolidate(self, view: View) -> None:
        """Contexts do not matter here."""

    def state(self) -> State:
        """The rates by parameter."""
        return {"rates": dict(self._rates)}

    def load_state(self, state: State) -> None:
        """Take saved rates."""
        self._rates = trees.copy(state["rates"])


def _grown(rates: Tensor | None, parameter: Tensor, start: float) -> Tensor:
    """Rates of the parameter's shape: those there are, and `start` in new rows."""
    if rates is not None and rates.shape == parameter.shape:
        return rates
    grown = torch.full_like(parameter, start, requires_grad=False)
    if rates is not None:
        rows = min(len(rates), len(grown))
        grown[:rows] = rates[:rows]
    return grown


def recipe(
    alpha: Annotated[float | None, Limits(low=0.0, high=10.0, usual=(0.01, 0.3))] = None,
    eta: Annotated[float, Limits(low=0.0, high=100.0, usual=(0.05, 0.5))] = 0.1,
    steps: Annotated[int, Limits(low=1, high=1000, usual=(1, 10), unit="steps")] = 1,
    second_order: bool = True,
    clip: Annotated[float | None, Limits(low=1e-6, usual=(0.5, 10.0))] = 2.0,
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.3, 0.9), unit="rows / rows")] = None,
) -> Recipe:
    """La-MAML.

    Args:
        alpha: the rate every parameter starts with; None: the learner's `learning_rate`.
        eta: the rate at which the rates are learned.
        steps: parts the fresh rows are split into, one look-ahead step each.
        second_order: differentiate through the steps?
        clip: the longest that the gradient of the parameters, or of the rates, may be; None: no bound.
        ratio: replayed / all rows; None: the learner's `replay_ratio`.

    >>> recipe(alpha=0.5).estimator.rates({"w": torch.zeros(1)}, 0.1)["w"]
    tensor([0.5000])
    """
    return Recipe(
        name="lamaml",
        language=False,
        estimator=LookAhead(alpha, eta, steps, second_order, clip),
        replay=(Replay(ratio=ratio),),
    )
