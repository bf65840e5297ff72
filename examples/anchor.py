"""A new method in one file: replay, and a spring that pulls the weights to where they were.

At each consolidation the weights are noted; from then on their distance is penalised,

    L = CE(fresh and replayed) + strength / 2 * ||theta - theta_noted||^2,

the baseline called L2 by Kirkpatrick et al. (2017). A penalty gives its gradient in closed form, so
it costs no second backward. In `tenuto/methods/` this file would be the method "anchor": found by
its name, held to the contract by the tests. From anywhere else its recipe is handed to a learner.

    python examples/anchor.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto import Batch, Learner, OnlineLearnerConfig, Recipe, Replay, Trace, trees
from tenuto.protocols import View
from tenuto.types import State


class Spring:
    """The pull towards the weights of the last consolidation."""

    def __init__(self, strength: float) -> None:
        self._strength = strength
        self._noted: trees.Tree = {}

    def penalty_gradient(self, params: trees.Tree, onto: trees.Tree | None = None) -> trees.Tree | None:
        """strength * (theta - theta_noted), added to a gradient; None before the first consolidation."""
        if not self._noted:
            return None
        pull = {name: self._strength * self._stretch(name, weight) for name, weight in params.items()}
        return trees.add(pull, onto)

    def _stretch(self, name: str, weight: Tensor) -> Tensor:
        """How far a weight is from where it was; rows of classes new since then are free."""
        noted, stretch = self._noted[name], torch.zeros_like(weight)
        if noted.shape == weight.shape:
            return weight - noted
        stretch[: len(noted)] = weight[: len(noted)] - noted
        return stretch

    def observe(self, trace: Trace) -> None:
        """A spring learns nothing from a step."""

    def consolidate(self, view: View) -> None:
        """Note where the weights are."""
        self._noted = trees.copy(view.params)

    def state(self) -> State:
        """What a saved learner must know to go on with the same bits."""
        return {"noted": dict(self._noted)}

    def load_state(self, state: State) -> None:
        """Take it back."""
        self._noted = trees.copy(state["noted"])


def recipe(strength: float = 0.1) -> Recipe:
    """Replay and a spring.

    Args:
        strength: of the pull.
    """
    return Recipe(name="anchor", replay=(Replay(),), penalties=(Spring(strength),))


def moved(strength: float) -> float:
    """How far the weights go in a second context, once the first was consolidated."""
    learner = Learner(config=OnlineLearnerConfig(learning_rate=0.05), method=recipe(strength))
    draws = torch.Generator().manual_seed(0)
    for context in ("near", "far"):
        if learner.stats.steps:
            learner.consolidate()
            noted = trees.copy(learner.body.params)
        for _ in range(50):
            inputs = torch.randn(10, 4, generator=draws)
            labels = [f"{context} {'up' if first > 0 else 'down'}" for first in inputs[:, 0]]
            learner.learn_batch(Batch(inputs, labels))
    now = trees.copy(learner.body.params)
    return sum(float((now[name][: len(was)] - was).square().sum()) for name, was in noted.items()) ** 0.5


def main() -> None:
    """Print what the strength does."""
    print("strength  moved")
    for strength in (0.0, 0.1, 1.0):
        print(f"{strength:8}  {moved(strength):.3f}")


if __name__ == "__main__":
    main()
