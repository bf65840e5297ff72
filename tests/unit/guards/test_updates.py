"""Guards of the update: overshooting, climbing, beyond the budget, out of bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks import guarded
from tenuto import Batch, guards, trees
from tenuto.guards.norm_budget import LEAST
from tenuto.guards.shared.history import History
from tenuto.types import Draw, Estimate, Ruling, Trace, Update


def step(
    number: int = 0,
    *,
    loss: float = 1.0,
    grad: float = 1.0,
    rate: float = 0.1,
    replayed: float = 1.0,
    weight: float = 1.0,
) -> Trace:
    """A plain gradient step: one fresh row, one replayed row of a given loss."""
    margin = -math.log(math.expm1(replayed))
    outputs = torch.tensor([[0.0, 0.0], [margin, 0.0]])
    targets = torch.zeros(2, dtype=torch.int64)
    draws = {"replay": Draw(slice(1, 2), torch.zeros(1, dtype=torch.int64), {})}
    grads = {"w": torch.tensor([grad, 0.0])}
    batch = Batch(torch.zeros(2, 2), targets, None, None, draws)
    estimate = Estimate(torch.tensor(loss), outputs, grads)
    return Trace(number, batch, estimate, Update(grads, -rate, True), params={"w": torch.full((2,), weight)})


def noise(count: int, spread: float) -> list[float]:
    """Standard log-normal numbers."""
    return (spread * torch.randn(count, generator=torch.Generator().manual_seed(0))).exp().tolist()


# Divergence ------------------------------------------------------------------------------------


@pytest.mark.parametrize("curvature", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("overshoot", [1.0, 2.0])
def test_on_a_quadratic_the_step_is_held_to_its_share_of_the_way(curvature: float, overshoot: float) -> None:
    """L = h x^2 / 2 at x = 3: the bottom is at 2 L, so that share `overshoot` / 2 of the way may be gone."""
    x, rate = 3.0, 1000.0
    judge = guards.load("divergence", {"divergence": {"overshoot": overshoot}})
    proposed = step(loss=curvature * x * x / 2, grad=curvature * x, rate=rate)
    scale = judge.judge(proposed).scale
    assert scale * rate * curvature * x == pytest.approx(x * overshoot / 2, rel=1e-5)


def test_a_step_that_does_not_overshoot_is_left_alone() -> None:
    assert guards.load("divergence").judge(step(loss=1.0, grad=1.0, rate=0.99)).scale == 1.0
    assert guards.load("divergence").judge(step(loss=-1.0, grad=1.0, rate=0.99)).scale == 1.0


def test_a_climb_that_persists_is_rolled_back_once() -> None:
    judge, verdicts = guards.load("divergence"), []
    for number, x in enumerate(noise(200, 0.2)):
        assert judge.judge(step(number, replayed=x)).keeps
    for number in range(300):
        verdicts.append(judge.judge(step(number, replayed=20.0)).ruling)
    assert verdicts[:3] == [Ruling.KEEP, Ruling.KEEP, Ruling.ROLLBACK]
    assert verdicts.count(Ruling.ROLLBACK) == 1


def test_a_rise_that_passes_is_no_climb() -> None:
    judge = guards.load("divergence")
    for number, x in enumerate(noise(400, 0.2)):
        assert judge.judge(step(number, replayed=20.0 if number % 10 > 7 else x)).keeps


@pytest.mark.parametrize("optimizer", guarded.OPTIMIZERS)
def test_divergence_is_caught_within_three_updates(optimizer: str) -> None:
    assert max(guarded.delay(seed, optimizer, calm=40) for seed in range(3)) <= 3


@pytest.mark.parametrize("make", [guarded.ascending, guarded.mixed], ids=["new classes", "mixed"])
def test_a_sound_stream_is_not_refused(make: object) -> None:
    assert callable(make)
    assert [guarded.refused(seed, make(seed, 2000))[0] for seed in range(3)] == [0, 0, 0]


# The norm budget -------------------------------------------------------------------------------


def test_a_norm_far_beyond_the_usual_is_refused_and_log_normal_ones_are_not() -> None:
    budget = guards.load("norm_budget")
    for number, x in enumerate(noise(2000, 1.0)):
        assert budget.judge(step(number, grad=x)).keeps
    before = trees.digest(budget.state())
    assert "norm" in budget.judge(step(9, grad=math.exp(8.0))).reason
    assert budget.judge(step(9, grad=math.exp(4.0))).keeps
    assert trees.digest(budget.state()) != before


def test_its_error_rate_is_the_stated_one() -> None:
    """P(z > 6) over many histories of log-normal norms: 2e-6 with 64 updates, 5e-9 with 512."""
    draws = np.random.default_rng(0)
    for size, stated in ((64, 2e-6), (512, 5e-9)):
        chances = []
        for _ in range(300):
            history = History(size, least=LEAST)
            for x in draws.normal(size=size):
                history.note(float(x))
            chances.append(stats.norm.sf(history.median + 6 * history.spread))
        assert np.mean(chances) < 4 * stated


def test_a_large_residual_excuses_a_large_norm() -> None:
    budget = guards.load("norm_budget")
    for number, x in enumerate(noise(300, 0.1)):
        budget.judge(step(number, grad=1e-3 * x, replayed=1e-6))
    sure = step(1, grad=1.0, replayed=1e-6)
    wrong = Estimate(sure.estimate.loss, torch.tensor([[-20.0, 0.0], [0.0, 0.0]]), sure.estimate.grads)
    assert not budget.judge(step(1, grad=1.0, replayed=1e-6)).keeps
    surprised = Trace(1, sure.batch, wrong, Update({"w": torch.tensor([1.5e-3, 0.0])}, -0.1, True))
    assert budget.judge(surprised).keeps


def test_norms_that_stay_high_become_usual() -> None:
    budget = guards.load("norm_budget")
    for number, x in enumerate(noise(300, 0.1)):
        budget.judge(step(number, grad=x))
    kept = [budget.judge(step(number, grad=1e6)).keeps for number in range(100)]
    assert kept.count(False) == 5
    assert all(kept[5:])


def test_an_update_of_nothing_is_kept() -> None:
    assert guards.load("norm_budget").judge(step(grad=0.0)).keeps
    assert guards.load("bounds").judge(step(rate=0.0)).keeps


# Bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "grad", "keeps"), [(9.9, -5.0, False), (11.0, 5.0, True), (11.0, -5.0, False)]
)
def test_a_weight_may_not_leave_its_bound_but_may_come_back(weight: float, grad: float, keeps: bool) -> None:
    judge = guards.load("bounds", {"bounds": {"weight": 10.0}})
    proposed = step(grad=grad, weight=weight)
    proposed.params["w"][1] = 0.0
    verdict = judge.judge(proposed)
    assert verdict.keeps is keeps
    assert keeps or "w" in verdict.reason


def test_a_layer_moves_by_its_share_at_most() -> None:
    proposed = step(grad=100.0, weight=3.0)
    scale = guards.load("bounds", {"bounds": {"share": 0.25}}).judge(proposed).scale
    assert scale * 100.0 * 0.1 == pytest.approx(0.25 * math.hypot(3.0, 3.0))


def test_a_layer_near_zero_may_move_too() -> None:
    scale = guards.load("bounds").judge(step(grad=100.0, weight=0.0)).scale
    assert scale * 100.0 * 0.1 == pytest.approx(0.1 * 0.05 * math.sqrt(2))


@pytest.mark.parametrize("name", ["divergence", "norm_budget", "bounds"])
def test_what_is_not_finite_is_refused(name: str) -> None:
    assert guards.load(name).judge(step(grad=float("nan"))).ruling is Ruling.REJECT
