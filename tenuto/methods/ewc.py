"""Elastic weight consolidation: weights that mattered are held by springs (Kirkpatrick et al. 2017).

    L = CE(fresh) + strength/2 * sum_i F_i (theta_i - theta*_i)^2

F is the diagonal Fisher information of a context's rows at its end, in evaluation mode. A second context
adds a second quadratic; their sum is again one quadratic, so memory is bounded and nothing is lost:
"original" keeps exactly sum_k F_k (theta - theta_k)^2. "online" (Schwarz et al. 2018) keeps F <- gamma F +
F_new around the newest weights; "adaptive" does so with the entries of F_new that are small beside their
mean set free. No spring acts with more than 1 / learning_rate, from where on SGD would overshoot.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tenuto import trees
from tenuto.config import Limits
from tenuto.methods.shared.fisher import KINDS, fisher
from tenuto.methods.shared.quadratic import Quadratic
from tenuto.methods.shared.recipe import Recipe
from tenuto.protocols import View
from tenuto.trees import Tree
from tenuto.types import State, Trace

MODES = ("original", "online", "adaptive")


class Elastic:
    """The springs.

    Args:
        strength, kind, mode, gamma, threshold: as in `recipe`.
    """

    def __init__(
        self,
        strength: float,
        *,
        kind: str = "exact",
        mode: str = "online",
        gamma: float = 1.0,
        threshold: float = 0.0,
    ) -> None:
        self._strength = strength
        self._kind = kind
        self._mode = mode
        self._gamma = gamma
        self._threshold = threshold
        self._springs = Quadratic()

    def penalty_gradient(self, params: Tree, onto: Tree | None = None) -> Tree | None:
        """strength * F (theta - theta*), with strength * F no more than 1 / learning_rate."""
        return self._springs.gradient(params, onto)

    def protect(self, factor: float) -> None:
        """Pull so many times as hard."""
        self._springs.protect(factor)

    def observe(self, trace: Trace) -> None:
        """Springs do not change between consolidations."""

    def consolidate(self, view: View) -> None:
        """Hold what the rows of this context depend on."""
        if view.context is None:
            return
        new = fisher(
            view.objective, view.params, view.context, self._kind, seed=view.seed, number=view.number
        )
        if self._mode == "adaptive":
            new = above(new, self._threshold)
        precision, rate = trees.scale(new, self._strength), view.objective.learning_rate
        if self._mode == "original":
            self._springs.join(precision, view.params, rate)
        else:
            self._springs.renew(precision, view.params, rate, keep=self._gamma)

    def state(self) -> State:
        """Precision and anchor."""
        return self._springs.state()

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        self._springs.load_state(state)


def above(tree: Tree, share: float) -> Tree:
    """The tree with entries below `share` times the mean of all entries set to zero.

    >>> above({"w": torch.tensor([1.0, 3.0]), "b": torch.tensor([2.0])}, 1.0)
    {'w': tensor([0., 3.]), 'b': tensor([2.])}
    """
    count = sum(leaf.numel() for leaf in tree.values())
    mean: Tensor = torch.stack([leaf.sum() for leaf in tree.values()]).sum() / count
    return {name: leaf.where(leaf >= share * mean, 0.0) for name, leaf in tree.items()}


def recipe(
    strength: Annotated[float, Limits(low=0.0, usual=(100.0, 10_000.0), unit="1 / nats")] = 100.0,
    mode: Annotated[str, Limits(choices=MODES)] = "online",
    fisher: Annotated[str, Limits(choices=KINDS)] = "exact",
    gamma: Annotated[float, Limits(low=0.0, high=1.0, usual=(0.9, 1.0))] = 1.0,
    threshold: Annotated[float, Limits(low=0.0, usual=(0.0, 1.0))] = 0.1,
    rows: Annotated[int, Limits(low=1, high=1_000_000, usual=(100, 10_000), unit="rows")] = 1000,
) -> Recipe:
    """EWC.

    Args:
        strength: lambda, of the penalty; no weight is pulled by more than 1 / learning_rate.
        mode: "original", a quadratic per context, merged exactly; "online" or "adaptive", one that fades.
        fisher: "exact" (a backward per class), "sampled", or "empirical" (one backward).
        gamma: what is left of the earlier importances after each context; not in mode "original".
        threshold: importances below this share of their mean are set free; only in mode "adaptive".
        rows: of each context, kept until its end to measure importance on.

    >>> recipe(rows=200).context
    200
    """
    springs = Elastic(strength, kind=fisher, mode=mode, gamma=gamma, threshold=threshold)
    return Recipe(name="ewc", penalties=(springs,), context=rows)
