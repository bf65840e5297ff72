"""A method that gives each context an adapter keeps the contract on a model with a bank of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.contract import checks
from tests.contract.walks import CLASSES, FEATURES, WALK, maker, numbers


def banked(outputs: int = len(CLASSES)) -> nn.Module:
    """A frozen base with a low-rank adapter, and a head of its own; the same at every call."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng():
        torch.manual_seed(11)
        base = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh())
        adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["0"]), adapter_name="first")
        return nn.Sequential(adapted, nn.Linear(8, outputs))


@pytest.mark.parametrize("settings", [{"head": "grow"}, {"head": "fixed", "passes": 2}], ids=str)
@pytest.mark.parametrize("check", checks.CHECKS.values(), ids=checks.CHECKS)
def test_classification(check: checks.Check, settings: dict[str, Any]) -> None:
    model = banked if settings["head"] == "fixed" else lambda: banked(2)
    check(maker("progressive", model=model, **settings), WALK)


@pytest.mark.parametrize("optimizer", ["momentum", "adamw", "rmsprop"])
def test_resuming_under_other_optimizers(optimizer: str) -> None:
    make = maker("progressive", model=lambda: banked(2), optimizer=optimizer)
    checks.resumes_at_every_step(make, WALK)
    checks.goes_back_in_time(make, WALK)
    checks.a_refused_update_changes_nothing(make, WALK)


def test_regression() -> None:
    make = maker("progressive", model=lambda: banked(2), task="regression", learning_rate=0.01)
    for check in checks.CHECKS.values():
        check(make, numbers(WALK))
