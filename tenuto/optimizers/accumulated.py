"""Gradient accumulation: any optimizer, moved by the mean gradient of n steps.

    g_t = (g_1 + ... + g_n) / n at every n-th step; the steps between propose no move

For equal batches this is the gradient of all their rows at once. Proposing adds beside the sum so far;
committing keeps the new sum, so a refused step adds nothing. What is gathered stays until its n-th step.
"""

from __future__ import annotations

from tenuto import trees
from tenuto.protocols import Optimizer
from tenuto.trees import Tree
from tenuto.types import State, Update


class Accumulated:
    """An optimizer that moves every n-th step.

    Args:
        inner: what proposes the move.
        every: steps per move, n.

    >>> import torch
    >>> from tenuto.optimizers.sgd import SGD
    >>> twice, theta = Accumulated(SGD(learning_rate=0.5), every=2), {"w": torch.ones(1)}
    >>> twice.commit(theta, twice.propose(theta, {"w": torch.ones(1)})); theta["w"]
    tensor([1.])
    >>> twice.commit(theta, twice.propose(theta, {"w": torch.zeros(1)})); theta["w"]
    tensor([0.7500])
    """

    def __init__(self, inner: Optimizer, every: int) -> None:
        self._inner = inner
        self._every = every
        self._count = 0
        self._sum: Tree = {}
        self._next: Tree = {}

    @property
    def learning_rate(self) -> float:
        """The inner optimizer's."""
        return self._inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._inner.learning_rate = rate

    @property
    def _due(self) -> bool:
        return self._count + 1 >= self._every

    def propose(self, params: Tree, grads: Tree) -> Update:
        """The inner optimizer's move at an n-th step, else one of scale 0; nothing changes yet."""
        self._next = trees.add(self._sum, grads) if self._sum else grads
        if self._due:
            return self._inner.propose(params, trees.scale(self._next, 1 / self._every))
        return Update(grads, 0.0)

    def commit(self, params: Tree, update: Update) -> None:
        """Move the parameters in place, and keep the sum, or the inner optimizer's new state."""
        if self._due:
            self._inner.commit(params, update)
            self._count, self._sum = 0, {}
            return
        if update.scale:
            trees.accumulate(params, update.tree, alpha=update.scale)
        self._count, self._sum = self._count + 1, self._next

    def resize(self, params: Tree) -> None:
        """Let the sum follow parameters whose rows were added or taken back."""
        if self._sum:
            self._sum = trees.follow(self._sum, params)
        self._inner.resize(params)

    def reset(self) -> None:
        """Forget the sum and the steps made."""
        self._count, self._sum = 0, {}
        self._inner.reset()

    def state(self) -> State:
        """The sum, its steps, and the inner optimizer's state."""
        return {"inner": self._inner.state(), "sum": dict(self._sum), "count": self._count}

    def load_state(self, state: State) -> None:
        """Take a saved sum."""
        self._inner.load_state(state["inner"])
        self._sum, self._count = trees.copy(state["sum"]), int(state["count"])
