"""Held-out retention: binomial tails, the paired test, what freezes and what does not, at which rates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks import guarded
from tenuto.errors import ConfigError
from tenuto.guards.retention import Retention, crs, guard, mcnemar, tail
from tenuto.types import Ruling

ITEMS = 500
GROUPS = torch.arange(ITEMS) % 5


def answers(wrong: int, first: int = 0) -> torch.Tensor:
    """Right but for `wrong` answers in a row."""
    right = torch.ones(ITEMS, dtype=torch.bool)
    right[first : first + wrong] = False
    return right


@given(st.integers(0, 300), st.integers(0, 310), st.floats(0.01, 0.99))
def test_the_tail_is_the_binomial_one(n: int, k: int, chance: float) -> None:
    assert tail(k, n, chance) == pytest.approx(stats.binom.sf(k - 1, n, chance), rel=1e-8, abs=1e-300)


def test_a_certain_or_impossible_outcome_has_a_tail_too() -> None:
    assert [tail(3, 5, 0.0), tail(3, 5, 1.0), tail(6, 5, 1.0), tail(0, 5, 0.0)] == [0.0, 1.0, 0.0, 1.0]


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_test_on_those_that_changed_sides(lost: int, gained: int) -> None:
    before, after = answers(gained), answers(lost, first=gained)
    expected = stats.binomtest(lost, lost + gained, alternative="greater").pvalue if lost + gained else 1.0
    assert mcnemar(before, after) == pytest.approx(expected, rel=1e-9)


def test_crs_weighs_groups_alike_and_leaves_out_those_without_a_score() -> None:
    before = torch.tensor([1, 1, 1, 1, 1, 0]).bool()
    after = torch.tensor([0, 1, 1, 1, 1, 1]).bool()
    assert crs(before, after, torch.tensor([7, 7, 3, 3, 3, 9])) == pytest.approx((0.5 + 1.0) / 2)
    assert crs(~torch.ones(2, dtype=torch.bool), torch.ones(2).bool(), torch.tensor([0, 1])) == 1.0


def test_a_proven_loss_freezes_until_thawed() -> None:
    found = guard()
    assert found.evaluate(answers(20), GROUPS).keeps
    verdict = found.evaluate(answers(80), GROUPS)
    assert verdict.ruling is Ruling.FREEZE
    assert "retention" in verdict.reason
    again = guard()
    again.load_state(found.state())
    assert again.state()["frozen"] == found.state()["frozen"] != ""
    found.thaw()
    assert found.state()["frozen"] == ""
    assert not found.evaluate(answers(80), GROUPS).keeps
    found.rebase()
    assert found.evaluate(answers(80), GROUPS).keeps
    assert found.evaluate(answers(85), GROUPS).keeps


@pytest.mark.parametrize("wrong", [20, 40, 43])
def test_a_loss_below_the_drop_or_unproven_does_not_freeze(wrong: int) -> None:
    found = guard()
    found.evaluate(answers(20), GROUPS)
    assert found.evaluate(answers(wrong), GROUPS).keeps
    noisy = answers(120, first=200)
    found.rebase()
    found.evaluate(answers(100), GROUPS)
    assert 1 - crs(answers(100), answers(125, first=200), GROUPS) > 0.05
    assert found.evaluate(answers(125, first=200), GROUPS).keeps
    assert found.evaluate(noisy, GROUPS).keeps


def test_a_better_evaluation_becomes_the_reference_and_a_slow_decline_is_seen() -> None:
    found = guard()
    found.evaluate(answers(200), GROUPS)
    found.evaluate(answers(50), GROUPS)
    verdicts = [found.evaluate(answers(50 + 6 * k), GROUPS).keeps for k in range(1, 9)]
    assert verdicts[0]
    assert not all(verdicts)


def test_too_few_items_and_other_items_are_refused() -> None:
    with pytest.raises(ConfigError, match="400"):
        guard().evaluate(torch.ones(399), torch.zeros(399))
    found = guard()
    found.evaluate(answers(0), GROUPS)
    with pytest.raises(ConfigError, match="held-out items"):
        found.evaluate(answers(0), GROUPS.flip(0))


def test_false_freezes_and_power_are_as_stated() -> None:
    false = [guarded.frozen(seed, items=400, sides=0.1, drop=0.0) for seed in range(60)]
    true = [guarded.frozen(seed, items=400, sides=0.1, drop=0.08, evaluations=2) for seed in range(60)]
    assert tail(sum(false), 60, 0.01) > 1e-3
    assert tail(60 - sum(true), 60, 0.1) > 1e-3
    assert isinstance(guard(), Retention)
