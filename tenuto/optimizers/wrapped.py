"""Any torch.optim optimizer, made to propose.

It steps on a private copy of the parameters: the difference is the proposed update, and its own
state is copied before the step and put back when the update is not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer as TorchOptimizer

from tenuto.errors import StateError
from tenuto.trees import Tree, fit, like
from tenuto.types import State, Update


class Wrapped:
    """A torch optimizer that proposes.

    >>> rms = Wrapped(lambda params: torch.optim.Rprop(params, lr=0.5))
    >>> theta = {"w": torch.ones(1)}
    >>> rms.commit(theta, rms.propose(theta, {"w": torch.ones(1)})); theta["w"]
    tensor([0.5000])
    """

    def __init__(self, factory: Callable[[list[Parameter]], TorchOptimizer]) -> None:
        self._factory = factory
        self._rate: float | None = None
        self._shadow: dict[str, Parameter] = {}
        self._torch: TorchOptimizer | None = None
        self._kept: dict[str, dict[str, Any]] = {}

    @property
    def learning_rate(self) -> float:
        """The rate of the first group of parameters; setting it sets that of every group."""
        if self._rate is not None:
            return self._rate
        return float(self._factory([Parameter(torch.zeros(1))]).param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._rate = rate

    def propose(self, params: Tree, grads: Tree) -> Update:
        """The move the torch optimizer would make; nothing changes yet."""
        optimizer = self._ready(params)
        self._restore(optimizer)
        with torch.no_grad():
            torch._foreach_copy_(list(self._shadow.values()), list(params.values()))
        for name, parameter in self._shadow.items():
            parameter.grad = grads[name]
        for group in optimizer.param_groups if self._rate is not None else ():
            group["lr"] = self._rate
        optimizer.step()
        moved = torch._foreach_sub(
            [p.detach() for p in self._shadow.values()], [p.detach() for p in params.values()]
        )
        return Update(like(params, moved))

    def commit(self, params: Tree, update: Update) -> None:
        """Move the parameters in place and keep the optimizer's new state."""
        torch._foreach_add_(list(params.values()), list(update.tree.values()), alpha=update.scale)
        self._kept = self._snapshot()

    def resize(self, params: Tree) -> None:
        """Let the optimizer's state follow parameters whose rows were added or taken back."""
        for name, slots in self._kept.items():
            for key, value in slots.items():
                if isinstance(value, Tensor) and value.dim() and value.shape[1:] == params[name].shape[1:]:
                    slots[key] = fit(value, params[name])
        self._torch = None

    def reset(self) -> None:
        """Forget the torch optimizer's state."""
        self._kept, self._torch = {}, None

    def state(self) -> State:
        """The torch optimizer's state per parameter name, and the rate where it was changed."""
        return {"rate": self._rate, "slots": {name: dict(slots) for name, slots in self._kept.items()}}

    def load_state(self, state: State) -> None:
        """Take saved per-parameter state; it reaches the optimizer at the next proposal."""
        for name, slots in state["slots"].items():
            for key, value in slots.items():
                if not isinstance(value, Tensor | int | float | bool | None):
                    raise StateError(
                        f"optimizer state {name}/{key} is a {type(value).__name__}, not a tensor"
                    )
        self._rate = state["rate"]
        self._kept = {name: _copies(slots) for name, slots in state["slots"].items()}

    def _ready(self, params: Tree) -> TorchOptimizer:
        shapes = [shadow.shape for shadow in self._shadow.values()]
        if self._torch is None or shapes != [p.shape for p in params.values()]:
            self._shadow = {name: Parameter(p.detach().clone()) for name, p in params.items()}
            self._torch = self._factory(list(self._shadow.values()))
        return self._torch

    def _restore(self, optimizer: TorchOptimizer) -> None:
        optimizer.state.clear()
        for name, slots in self._kept.items():
            optimizer.state[self._shadow[name]] = _copies(slots)

    def _snapshot(self) -> dict[str, dict[str, Any]]:
        if self._torch is None:
            return {}
        return {name: _copies(self._torch.state[p]) for name, p in self._shadow.items()}


def _copies(slots: dict[str, Any]) -> dict[str, Any]:
    return {key: v.detach().clone() if isinstance(v, Tensor) else v for key, v in slots.items()}
