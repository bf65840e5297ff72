"""Every method that learns language keeps the contract on a language model, found by listing the folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tenuto import Batch, Learner, OnlineLearnerConfig, methods
from tenuto.adapters.lora import adapt
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel
from tenuto.parts import names
from tests import language
from tests.contract import checks
from tests.contract.plain import leaves, size
from tests.contract.walks import Make, Walk, go

CONFIG = OnlineLearnerConfig(
    task="language", optimizer="adamw", learning_rate=5e-3, memory_size=3, batch_size=1
)
METHODS = [name for name in names("tenuto.methods") if methods.load(name).language]
BASE = 260_032
"""Numbers of the frozen base, none of which may be in a state."""


def only_the_adapter_is_saved(make: Make, walk: Walk) -> None:
    """No tensor of the frozen base is in the state, and the base is what it was."""
    learner = make(0)
    frozen = {name: one.clone() for name, one in learner.model.named_parameters() if not one.requires_grad}
    go(learner, walk)
    state = learner.save_state()
    assert set(state["model"]) == {name for name, _ in learner.model.named_parameters() if ".lora_" in name}
    assert size(state) < BASE / 5
    for path, leaf in leaves(state):
        same = [one for one in frozen.values() if isinstance(leaf, torch.Tensor) and one.shape == leaf.shape]
        assert not any(torch.equal(one, leaf) for one in same), f"{path} is a tensor of the base"
    after = dict(learner.model.named_parameters())
    assert all(torch.equal(one, after[name]) for name, one in frozen.items()), "the base has moved"


CHECKS = [
    checks.resumes_at_every_step,
    checks.predicting_changes_nothing,
    checks.the_seed_decides,
    checks.state_is_plain,
    checks.a_refused_update_changes_nothing,
    only_the_adapter_is_saved,
]
ROUTED = {"wrong": 0.05}
EXPERTS = {"experts": 3, "active": 1, "directions": 8}


def maker(method: str, options: dict[str, Any] | None = None) -> Make:
    """Learners of the tiny Llama's first block, with an adapter; anchors where a method holds to any."""

    def make(seed: int) -> Learner:
        base = language.base()
        base.model.layers = base.model.layers[:1]
        model = LanguageModel(adapt(base, rank=2, seed=seed))
        learner = Learner(model, replace(CONFIG, seed=seed), method=method, options=options)
        if learner.recipe.anchors is not None:
            learner.anchor(stack([language.row("One day a", " girl"), language.row("The sun", " was warm")]))
        return learner

    return make


def walk() -> Walk:
    """Three facts: one alone, two of unlike weights from another context, a consolidation between them."""
    first, second, third = language.rows()
    both = stack([second, third])
    weighed = Batch(both.inputs, both.targets, torch.tensor([1.0, 0.5]), ["two", "two"])
    return (stack([first]), None, weighed)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_methods(method: str, check: checks.Check) -> None:
    check(maker(method), walk())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_router_in_front_of_the_adapter(check: checks.Check) -> None:
    check(maker("anchored", ROUTED), walk())


@pytest.mark.parametrize("check", CHECKS[:-1], ids=lambda check: check.__name__)
def test_experts_beside_each_layer(check: checks.Check) -> None:
    """But for the last check, which takes experts at rest for the base: they are no more trained than it."""
    check(maker("ogp_lora", EXPERTS), walk())
