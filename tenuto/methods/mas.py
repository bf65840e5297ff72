"""Memory aware synapses (Aljundi et al. 2018): a weight matters by how much the outputs depend on it.

    Omega <- Omega + E_x |d ||f(x)||^2 / d theta|
    L = CE(fresh) + strength * sum_i Omega_i (theta_i - theta*_i)^2

No label is read: any rows of the context would do. The absolute value is taken row by row, before the mean.
"""

from __future__ import annotations

from typing import Annotated

from tenuto import trees
from tenuto.config import Limits
from tenuto.methods.shared.fisher import sensitivity
from tenuto.methods.shared.quadratic import Quadratic
from tenuto.methods.shared.recipe import Recipe
from tenuto.protocols import View
from tenuto.trees import Tree
from tenuto.types import State, Trace


class Synapses:
    """Weights held by how much the outputs depend on them."""

    def __init__(self, strength: float) -> None:
        self._strength = strength
        self._pull = Quadratic()

    def penalty_gradient(self, params: Tree, onto: Tree | None = None) -> Tree | None:
        """2 strength Omega (theta - theta*), with 2 strength Omega no more than 1 / learning_rate."""
        return self._pull.gradient(params, onto)

    def protect(self, factor: float) -> None:
        """Pull so many times as hard."""
        self._pull.protect(factor)

    def observe(self, trace: Trace) -> None:
        """Nothing changes between consolidations."""

    def consolidate(self, view: View) -> None:
        """Hold what the outputs on this context's rows depend on."""
        if view.context is not None:
            omega = sensitivity(view.objective, view.params, view.context)
            precision = trees.scale(omega, 2 * self._strength)
            self._pull.renew(precision, view.params, view.objective.learning_rate)

    def state(self) -> State:
        """Precision and anchor."""
        return self._pull.state()

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        self._pull.load_state(state)


def recipe(
    strength: Annotated[float, Limits(low=0.0, usual=(0.01, 10.0))] = 0.1,
    rows: Annotated[int, Limits(low=1, high=1_000_000, usual=(100, 10_000), unit="rows")] = 1000,
) -> Recipe:
    """MAS.

    Args:
        strength: lambda, of the penalty; no weight is pulled by more than 1 / learning_rate.
        rows: of each context, kept until its end to measure importance on.

    >>> recipe(rows=200).context
    200
    """
    return Recipe(name="mas", penalties=(Synapses(strength),), context=rows)
