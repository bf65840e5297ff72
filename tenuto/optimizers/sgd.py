"""Stochastic gradient descent, with momentum and L2 weight decay as torch.optim.SGD defines them.

    v <- mu v + g + wd theta,   theta <- theta - lr v

Proposing computes the next v beside the current one; committing swaps them.
"""

from __future__ import annotations

from tenuto import trees
from tenuto.trees import Tree
from tenuto.types import State, Update


class SGD:
    """SGD that proposes.

    >>> import torch
    >>> sgd, theta = SGD(learning_rate=0.5), {"w": torch.ones(1)}
    >>> sgd.commit(theta, sgd.propose(theta, {"w": torch.ones(1)})); theta["w"]
    tensor([0.5000])
    """

    def __init__(self, *, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self._velocity: Tree = {}
        self._next: Tree = {}

    def propose(self, params: Tree, grads: Tree) -> Update:
        """The move -lr v for these gradients; nothing changes yet."""
        if self.weight_decay:
            grads = trees.add(grads, params, alpha=self.weight_decay)
        if self.momentum:
            velocity = self._velocity or trees.zeros(grads)
            self._next = trees.add(trees.scale(velocity, self.momentum), grads)
            return Update(self._next, -self.learning_rate, True)
        return Update(grads, -self.learning_rate, True)

    def commit(self, params: Tree, update: Update) -> None:
        """Move the parameters in place and keep the proposed velocity."""
        trees.accumulate(params, update.tree, alpha=update.scale)
        if self.momentum:
            self._velocity = self._next

    def resize(self, params: Tree) -> None:
        """Let the velocity follow parameters whose rows were added or taken back."""
        if self._velocity:
            self._velocity = trees.follow(self._velocity, params)

    def reset(self) -> None:
        """Forget the velocity."""
        self._velocity = {}

    def state(self) -> State:
        """Velocity and rate."""
        return {"learning_rate": self.learning_rate, "velocity": dict(self._velocity)}

    def load_state(self, state: State) -> None:
        """Take a saved velocity and rate."""
        self.learning_rate = float(state["learning_rate"])
        self._velocity = trees.copy(state["velocity"])
