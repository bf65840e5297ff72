"""AdamW (Loshchilov & Hutter 2019), the arithmetic of torch.optim.AdamW.

    m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
    theta <- theta - lr wd theta - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)

Proposing computes the next moments beside the current ones; committing swaps them.
"""

from __future__ import annotations

import math

import torch

from tenuto import trees
from tenuto.trees import Tree
from tenuto.types import State, Update


class AdamW:
    """AdamW that proposes.

    >>> adamw, theta = AdamW(learning_rate=0.1, weight_decay=0.0), {"w": torch.ones(1)}
    >>> adamw.commit(theta, adamw.propose(theta, {"w": torch.ones(1)})); theta["w"]
    tensor([0.9000])
    """

    def __init__(
        self,
        *,
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self._steps = 0
        self._mean: Tree = {}
        self._square: Tree = {}
        self._next: tuple[Tree, Tree] = ({}, {})

    def propose(self, params: Tree, grads: Tree) -> Update:
        """The move for these gradients; nothing changes yet."""
        (b1, b2), t = self.betas, self._steps + 1
        g = trees.leaves(grads)
        mean = torch._foreach_lerp(trees.leaves(self._mean or trees.zeros(grads)), g, 1 - b1)
        square = torch._foreach_mul(trees.leaves(self._square or trees.zeros(grads)), b2)
        torch._foreach_addcmul_(square, g, g, 1 - b2)
        self._next = (trees.like(grads, mean), trees.like(grads, square))

        root = torch._foreach_sqrt(square)
        torch._foreach_div_(root, math.sqrt(1 - b2**t))
        torch._foreach_add_(root, self.eps)
        move = torch._foreach_div(mean, root)
        torch._foreach_mul_(move, -self.learning_rate / (1 - b1**t))
        if self.weight_decay:
            decay = -self.learning_rate * self.weight_decay
            torch._foreach_add_(move, trees.leaves(params), alpha=decay)
        return Update(trees.like(grads, move))

    def commit(self, params: Tree, update: Update) -> None:
        """Move the parameters in place and keep the proposed moments."""
        trees.accumulate(params, update.tree, alpha=update.scale)
        self._mean, self._square = self._next
        self._steps += 1

    def resize(self, params: Tree) -> None:
        """Let the moments follow parameters whose rows were added or taken back."""
        if self._mean:
            self._mean = trees.follow(self._mean, params)
            self._square = trees.follow(self._square, params)

    def reset(self) -> None:
        """Forget the moments."""
        self._steps, self._mean, self._square = 0, {}, {}

    def state(self) -> State:
        """Moments, rate and step count."""
        return {
            "learning_rate": self.learning_rate,
            "steps": self._steps,
            "mean": dict(self._mean),
            "square": dict(self._square),
        }

    def load_state(self, state: State) -> None:
        """Take saved moments, rate and step count."""
        self.learning_rate, self._steps = float(state["learning_rate"]), int(state["steps"])
        self._mean, self._square = trees.copy(state["mean"]), trees.copy(state["square"])
