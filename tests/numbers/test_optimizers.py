"""Each optimizer against torch's own over a hundred steps, growth included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tenuto.optimizers import SGD, AdamW, Wrapped
from tenuto.protocols import Optimizer
from tenuto.trees import Tree

SHAPES = {"body.weight": (7, 5), "body.bias": (7,), "head.weight": (3, 7), "head.bias": (3,), "scale": ()}
SETTINGS: list[dict[str, Any]] = [
    {"learning_rate": 0.1},
    {"learning_rate": 0.03, "momentum": 0.9},
    {"learning_rate": 0.03, "weight_decay": 0.01},
    {"learning_rate": 0.01, "momentum": 0.5, "weight_decay": 0.1},
]
FACTORIES: dict[str, Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]] = {
    "SGD": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9, nesterov=True),
    "RMSprop": lambda params: torch.optim.RMSprop(params, lr=0.01, momentum=0.3, centered=True),
    "Adagrad": lambda params: torch.optim.Adagrad(params, lr=0.1),
    "Adam": lambda params: torch.optim.Adam(params, lr=0.01, amsgrad=True),
    "NAdam": lambda params: torch.optim.NAdam(params, lr=0.01),
    "Rprop": lambda params: torch.optim.Rprop(params, lr=0.01),
}


def start() -> Tree:
    """Parameters, the same at each call."""
    draws = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=draws) for name, shape in SHAPES.items()}


def gradients(step: int, params: Tree) -> Tree:
    """Gradients of a step: those of a bowl, with noise."""
    draws = torch.Generator().manual_seed(step + 1)
    return {name: p.detach() + torch.randn(p.shape, generator=draws) for name, p in params.items()}


def walk(optimizer: Optimizer, steps: int = 100) -> list[Tree]:
    """The parameters after each step."""
    params, seen = start(), []
    for step in range(steps):
        before = {name: p.clone() for name, p in params.items()}
        update = optimizer.propose(params, gradients(step, params))
        assert all(torch.equal(p, before[name]) for name, p in params.items()), "proposing moved a parameter"
        optimizer.commit(params, update)
        seen.append({name: p.clone() for name, p in params.items()})
    return seen


def torch_walk(factory: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]) -> list[Tree]:
    """The same walk by torch's own optimizer."""
    params = {name: torch.nn.Parameter(p) for name, p in start().items()}
    optimizer, seen = factory(list(params.values())), []
    for step in range(100):
        for name, grad in gradients(step, params).items():
            params[name].grad = grad
        optimizer.step()
        seen.append({name: p.detach().clone() for name, p in params.items()})
    return seen


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_sgd_is_torchs_bit_for_bit(settings: dict[str, Any]) -> None:
    renamed = {"lr": settings["learning_rate"], **{k: v for k, v in settings.items() if k != "learning_rate"}}
    theirs = torch_walk(lambda params: torch.optim.SGD(params, **renamed))
    for step, (mine, other) in enumerate(zip(walk(SGD(**settings)), theirs, strict=True)):
        for name in SHAPES:
            assert torch.equal(mine[name], other[name]), f"step {step}, {name}"


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.5)])
def test_adamw_is_torchs_to_rounding(weight_decay: float, betas: tuple[float, float]) -> None:
    mine = walk(AdamW(learning_rate=0.01, betas=betas, weight_decay=weight_decay))
    theirs = torch_walk(lambda ps: torch.optim.AdamW(ps, lr=0.01, betas=betas, weight_decay=weight_decay))
    for one, other in zip(mine, theirs, strict=True):
        for name in SHAPES:
            torch.testing.assert_close(one[name], other[name], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_a_wrapped_optimizer_moves_as_torchs_does(
    factory: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer],
) -> None:
    for one, other in zip(walk(Wrapped(factory)), torch_walk(factory), strict=True):
        for name in SHAPES:
            torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-5)


def optimizers() -> dict[str, Optimizer]:
    """One of each."""
    return {
        "sgd": SGD(learning_rate=0.1, momentum=0.9),
        "adamw": AdamW(learning_rate=0.01),
        "wrapped": Wrapped(FACTORIES["RMSprop"]),
    }


@pytest.mark.parametrize("name", optimizers())
def test_a_proposal_that_is_not_kept_leaves_no_trace(name: str) -> None:
    steady, hesitant = optimizers()[name], optimizers()[name]
    mine, other = start(), start()
    for step in range(20):
        hesitant.propose(other, {n: 1e6 * torch.ones_like(p) for n, p in other.items()})
        for optimizer, params in ((steady, mine), (hesitant, other)):
            optimizer.commit(params, optimizer.propose(params, gradients(step, params)))
        assert all(torch.equal(p, other[n]) for n, p in mine.items())


def grown(values: Tensor) -> Tensor:
    """Two more rows."""
    return torch.cat([values, torch.full((2, *values.shape[1:]), 0.5)])


@pytest.mark.parametrize("name", optimizers())
def test_new_rows_start_without_moments_and_old_ones_keep_theirs(name: str) -> None:
    """Growing equals having had the rows from the start, with gradients of zero until then."""
    small, large = optimizers()[name], optimizers()[name]
    mine = start()
    other = {n: grown(p) if n.startswith("head") else p.clone() for n, p in mine.items()}
    for step in range(30):
        if step == 15:
            mine = {n: grown(p) if n.startswith("head") else p for n, p in mine.items()}
            for n in ("head.weight", "head.bias"):
                other[n][3:] = 0.5
            small.resize(mine)
        grads = gradients(step, other)
        if step < 15:
            for n in ("head.weight", "head.bias"):
                grads[n][3:] = 0.0
        small.commit(
            mine, small.propose(mine, {n: g[: len(mine[n])] if g.dim() else g for n, g in grads.items()})
        )
        large.commit(other, large.propose(other, grads))
    for n, p in mine.items():
        torch.testing.assert_close(p, other[n], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", optimizers())
def test_growth_that_is_taken_back_changes_nothing(name: str) -> None:
    steady, hesitant = optimizers()[name], optimizers()[name]
    mine, other = start(), start()
    for step in range(20):
        wide = {n: grown(p) if n.startswith("head") else p for n, p in other.items()}
        hesitant.resize(wide)
        hesitant.propose(wide, {n: torch.ones_like(p) for n, p in wide.items()})
        hesitant.resize(other)
        for optimizer, params in ((steady, mine), (hesitant, other)):
            optimizer.commit(params, optimizer.propose(params, gradients(step, params)))
        assert all(torch.equal(p, other[n]) for n, p in mine.items())
