"""Every guard in its folder keeps the contract; what it refuses leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tenuto import Batch, Learner, OnlineLearnerConfig, guards, trees
from tenuto.parts import names
from tenuto.types import KEEP, Estimate, Ruling, Trace, Update, Verdict
from tests.contract import checks
from tests.contract.walks import WALK, maker, rows

GUARDS = names("tenuto.guards")
CHAIN = "+".join(name for name in GUARDS if name != "none")
IN_A_LEARNER = [
    checks.resumes_at_every_step,
    checks.goes_back_in_time,
    checks.state_is_plain,
    checks.global_generators_are_apart,
    checks.a_strange_state_is_refused,
    checks.a_bad_row_changes_nothing,
]


def trace(loss: float = 1.0, grad: float = 1.0, update: float = 1.0) -> Trace:
    """A step with these in it."""
    estimate = Estimate(torch.tensor(loss), torch.zeros(1, 2), {"w": torch.tensor([1.0, grad])})
    batch = Batch(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
    params = {"w": torch.tensor([20.0, 20.0])}
    return Trace(0, batch, estimate, Update({"w": torch.tensor([update, -1.0])}), params=params)


@pytest.mark.parametrize("check", IN_A_LEARNER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("guard", [*GUARDS, CHAIN])
def test_in_a_learner(guard: str, check: checks.Check) -> None:
    check(maker("er", guard=guard), WALK)


@pytest.mark.parametrize("guard", [*GUARDS, CHAIN])
def test_an_ordinary_stream_is_kept(guard: str) -> None:
    learner = maker("er", guard=guard)(0)
    for seed in range(120):
        assert learner.learn_batch(rows("abc", seed=seed, principals=["x", "y", "x"])).verdict.keeps
    assert learner.stats.refused == 0


@pytest.mark.parametrize("guard", [*GUARDS, CHAIN])
def test_a_stream_of_new_classes_is_kept(guard: str) -> None:
    """At most one row in a thousand may be refused, and of three hundred none is."""
    learner = maker("er", guard=guard)(0)
    for seed in range(60):
        learner.learn_batch(rows("abcde"[seed // 12] * 5, seed=seed, principals=["x"] * 4 + ["y"]))
    assert learner.stats.refused == 0


@pytest.mark.parametrize("guard", GUARDS)
def test_its_state_is_bounded(guard: str) -> None:
    checks.memory_is_bounded(maker("er", guard=guard), 2000)


@pytest.mark.parametrize("guard", [name for name in GUARDS if name != "none"])
def test_what_a_chain_refuses_leaves_no_trace(guard: str) -> None:
    learner = maker("er", guard="finite" if guard == "finite" else f"finite+{guard}")(0)
    learner.learn_batch(rows("abc"))
    before = learner.save_state()
    assert not learner.learn_batch(rows("ad", seed=1, weights=torch.full((2,), 3e38))).verdict.keeps
    before["counters"]["refused"] += 2
    assert trees.digest(learner.save_state()) == trees.digest(before)


def test_the_first_of_a_chain_that_does_not_keep_decides() -> None:
    broken = trace(loss=float("nan"), update=float("inf"))
    assert "loss" in guards.load("finite+bounds").judge(broken).reason
    assert "update" in guards.load("bounds+finite").judge(broken).reason
    assert guards.load("none+bounds").judge(trace()) is KEEP


def test_a_chain_makes_an_update_as_small_as_its_strictest_guard_wants() -> None:
    step = trace(grad=1.0, update=-40.0)
    scales = [guards.load(name).judge(step).scale for name in ("divergence", "bounds", "bounds+divergence")]
    assert scales[2] == min(scales[:2]) < max(scales[:2]) < 1.0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("finite+finite", None, "twice"),
        ("finite+", None, "unknown guard ''"),
        ("finite", {"bounds": {"weight": 1.0}}, "does not name"),
        ("bounds", {"bounds": {"height": 1.0}}, "no option 'height'"),
        ("bounds", {"bounds": {"weight": -1.0}}, "at least 0"),
    ],
)
def test_a_strange_chain_is_refused(name: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        guards.load(name, options)


def test_an_update_is_committed_as_small_as_the_guard_wants() -> None:
    bounded, free = maker("naive", guard="none")(0), maker("naive", guard="none")(0)
    for learner in (bounded, free):
        learner.learn_batch(rows("ab"))
    before = trees.copy(dict(free.body.params))
    bounded.guard = guards.load("bounds", {"bounds": {"share": 1e-4}})
    verdict = bounded.learn_batch(rows("ab", seed=1)).verdict
    free.learn_batch(rows("ab", seed=1))
    assert verdict.ruling is Ruling.KEEP
    assert 0.0 < verdict.scale < 1.0
    for name, start in before.items():
        moved = (free.body.params[name] - start) * verdict.scale
        torch.testing.assert_close(bounded.body.params[name] - start, moved, rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("guard", GUARDS)
def test_judging_changes_neither_step_nor_learner(guard: str) -> None:
    judge = guards.load(guard)
    for step in (trace(), trace(loss=float("nan")), trace(update=float("inf"))):
        before = trees.digest([step.estimate.grads, step.update.tree])
        verdict = judge.judge(step)
        assert isinstance(verdict, Verdict)
        assert verdict.keeps or verdict.reason
        assert trees.digest([step.estimate.grads, step.update.tree]) == before


@pytest.mark.parametrize(
    "broken",
    [
        {"loss": float("nan")},
        {"loss": float("inf")},
        {"loss": float("-inf")},
        {"update": float("nan")},
        {"update": float("inf")},
        {"update": -float("inf")},
        {"grad": float("nan")},
        {"grad": float("-inf")},
        {"grad": 1e30},
    ],
    ids=str,
)
def test_finite_refuses_what_is_not(broken: dict[str, float]) -> None:
    verdict = guards.load("finite").judge(trace(**broken))
    assert not verdict.keeps
    assert "step 0" in verdict.reason


def test_finite_keeps_what_is_merely_large() -> None:
    assert guards.load("finite").judge(trace(loss=1e30, grad=1e18, update=-1e18)).keeps


def test_an_overflow_that_the_optimizer_hides_is_refused() -> None:
    """AdamW turns an overflowing gradient into a step of zero and a moment that is infinite for good."""
    learner = maker("naive", optimizer="adamw")(0)
    learner.learn_batch(rows("ab"))
    before = learner.save_state()["model"], learner.save_state()["optimizer"]
    judged = learner.learn_batch(rows("ab", seed=1, weights=torch.full((2,), 1e25)))
    assert not judged.verdict.keeps
    assert trees.digest(list(before)) == trees.digest(
        [learner.save_state()["model"], learner.save_state()["optimizer"]]
    )


def test_without_a_guard_everything_passes() -> None:
    learner = maker("naive", guard="none")(0)
    assert learner.learn_batch(rows("abc", weights=torch.full((3,), 3e38))).verdict.keeps
    assert not all(map(trees.squarable, learner.model.parameters()))


def test_an_unknown_guard_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown guard 'fnite'; known: activations.*did you mean 'finite'"):
        Learner(config=config(guard="fnite"))


def config(**settings: Any) -> OnlineLearnerConfig:
    """A config with these settings."""
    return OnlineLearnerConfig(**settings)
