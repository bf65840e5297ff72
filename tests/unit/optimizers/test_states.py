"""States of optimizers: plain, complete, and refused where they are not their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tenuto import OnlineLearnerConfig, optimizers, trees
from tenuto.errors import StateError
from tenuto.optimizers import SGD, AdamW, Wrapped
from tenuto.protocols import Optimizer
from tenuto.trees import Tree

MAKERS: dict[str, Callable[[], Optimizer]] = {
    "sgd": lambda: SGD(learning_rate=0.1),
    "momentum": lambda: SGD(learning_rate=0.1, momentum=0.9),
    "adamw": lambda: AdamW(learning_rate=0.1),
    "rprop": lambda: Wrapped(lambda params: torch.optim.Rprop(params, lr=0.1)),
    "asgd": lambda: Wrapped(lambda params: torch.optim.ASGD(params, lr=0.1)),
}


def params() -> Tree:
    """Two parameters."""
    return {"w": torch.ones(3, 2), "b": torch.zeros(3)}


def go(optimizer: Optimizer, tree: Tree, steps: int) -> None:
    """Walk down a bowl."""
    for _ in range(steps):
        optimizer.commit(tree, optimizer.propose(tree, {name: p - 0.3 for name, p in tree.items()}))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_saved_optimizer_goes_on_the_same(make: Callable[[], Optimizer]) -> None:
    for cut in range(6):
        whole, tree = make(), params()
        go(whole, tree, cut)
        state, other = trees.detach(whole.state()), trees.copy(tree)
        resumed = make()
        resumed.load_state(state)
        go(whole, tree, 5)
        go(resumed, other, 5)
        assert trees.digest(tree) == trees.digest(other)
        assert trees.digest(whole.state()) == trees.digest(resumed.state())


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_loaded_state_is_a_copy(make: Callable[[], Optimizer]) -> None:
    first, tree = make(), params()
    go(first, tree, 3)
    state = trees.detach(first.state())
    second = make()
    second.load_state(state)
    before = trees.digest(state)
    go(second, tree, 3)
    assert trees.digest(state) == before


def test_what_is_no_tensor_is_refused_from_a_wrapped_optimizer() -> None:
    with pytest.raises(StateError, match="optimizer state w/hook is a list, not a tensor"):
        MAKERS["rprop"]().load_state({"rate": None, "slots": {"w": {"hook": [1, 2]}}})


@pytest.mark.parametrize(
    ("settings", "kind"),
    [({}, SGD), ({"optimizer": "adamw"}, AdamW), ({"momentum": 0.5}, SGD)],
)
def test_the_config_names_the_optimizer(settings: dict[str, object], kind: type) -> None:
    made = optimizers.make(OnlineLearnerConfig.of({"learning_rate": 0.5, **settings}))
    assert isinstance(made, kind)
    assert made.learning_rate == 0.5
    assert isinstance(optimizers.make(OnlineLearnerConfig(), lambda ps: torch.optim.SGD(ps, lr=1.0)), Wrapped)
