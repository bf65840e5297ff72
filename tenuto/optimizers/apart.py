"""An optimizer for each group of parameters: what has no gradient at this step stands still.

For weights that rest between the steps that need them, as experts do: no momentum moves them and no decay
shrinks them meanwhile, and the steps that correct Adam's first moments are counted for each group by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from tenuto.protocols import Optimizer
from tenuto.trees import Tree
from tenuto.types import State, Update


class Apart:
    """Optimizers of one kind, side by side.

    Args:
        make: makes the optimizer of a group.
        group: the group of a parameter, by its name.

    >>> import torch
    >>> from tenuto.optimizers.sgd import SGD
    >>> apart = Apart(lambda: SGD(learning_rate=1.0, momentum=0.5), group=lambda name: name[0])
    >>> theta = {"a": torch.zeros(1), "b": torch.zeros(1)}
    >>> for name in "aab":
    ...     one = {name: theta[name]}
    ...     apart.commit(one, apart.propose(one, {name: torch.ones(1)}))
    >>> theta["a"].item(), theta["b"].item()
    (-2.5, -1.0)
    """

    def __init__(self, make: Callable[[], Optimizer], group: Callable[[str], str]) -> None:
        self._make, self._group = make, group
        self._own: dict[str, Optimizer] = {}
        self._asked: dict[str, Optimizer] = {}
        self._rate = make().learning_rate

    @property
    def learning_rate(self) -> float:
        """The rate of every group."""
        return self._rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._rate = rate
        for one in self._own.values():
            one.learning_rate = rate

    def propose(self, params: Tree, grads: Tree) -> Update:
        """The move of all groups; nothing changes yet."""
        self._asked, moves, update = {}, {}, Update({})
        for name, names in self._groups(grads).items():
            one = self._asked[name] = self._own.get(name) or self._begun()
            _bring(one, next(grads[key] for key in names))
            update = one.propose(_of(params, names), _of(grads, names))
            moves.update(update.tree)
        return Update({key: moves[key] for key in grads}, update.scale, update.linear)

    def commit(self, params: Tree, update: Update) -> None:
        """Move the parameters in place, and keep what was proposed."""
        for name, names in self._groups(update.tree).items():
            move = Update(_of(update.tree, names), update.scale, update.linear)
            self._asked[name].commit(_of(params, names), move)
        for name in self._own.keys() - self._asked.keys():
            _bring(self._own[name], None)
        self._own.update(self._asked)
        self._asked = {}

    def resize(self, params: Tree) -> None:
        """Let each group follow its parameters."""
        for name, names in self._groups(params).items():
            if name in self._own:
                self._own[name].resize(_of(params, names))

    def reset(self) -> None:
        """Forget the steps made, but not the rate."""
        self._own = {}

    def state(self) -> State:
        """The rate, and each group's own state."""
        groups = {name: one.state() for name, one in self._own.items()}
        return {"learning_rate": self._rate, "groups": groups}

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        self._rate, self._own = float(state["learning_rate"]), {}
        for name, saved in state["groups"].items():
            self._own[name] = self._begun()
            self._own[name].load_state(saved)

    def _begun(self) -> Optimizer:
        one = self._make()
        one.learning_rate = self._rate
        return one

    def _groups(self, names: Iterable[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(self._group(name), []).append(name)
        return found


def _of(tree: Tree, names: list[str]) -> Tree:
    return {name: tree[name] for name in names}


def _bring(one: Optimizer, beside: Tensor | None) -> None:
    """Have an optimizer's tensors lie beside another; None: in host memory."""
    state: dict[str, Any] = one.state()
    device = torch.device("cpu") if beside is None else beside.device
    leaves = [leaf for tree in state.values() if isinstance(tree, dict) for leaf in tree.values()]
    if all(leaf.device == device for leaf in leaves if isinstance(leaf, Tensor)):
        return
    one.load_state(
        {
            name: {key: leaf.to(device) for key, leaf in tree.items()} if isinstance(tree, dict) else tree
            for name, tree in state.items()
        }
    )
