"""What an episode forgot sets the next one: strengths rise with it, sink without, and stay in bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.consolidation import ConsolidationScheduler, cosine, warmed
from tenuto.consolidation.feedback import Feedback, Strength
from tenuto.errors import ConfigError
from tenuto.reports import Reason

ASKED = Strength(protection=1.0, replay_ratio=0.5)


@given(st.lists(st.floats(0.0, 1.0), max_size=30))
def test_they_stay_between_what_was_asked_for_and_their_most(losses: list[float]) -> None:
    rule, now = Feedback(), ASKED
    for loss in losses:
        before, now = now, rule.next(now, ASKED, forgetting=loss)
        assert 1.0 <= now.protection <= rule.protection
        assert 0.5 <= now.replay_ratio <= rule.replay_ratio
        if loss > rule.tolerated:
            assert now.protection >= before.protection
            assert now.replay_ratio >= before.replay_ratio
        else:
            assert now.protection <= before.protection


def test_they_come_back_slowly_and_all_the_way() -> None:
    rule, now = Feedback(), Strength(protection=8.0, replay_ratio=0.9)
    after = rule.next(now, ASKED, forgetting=0.0)
    assert (after.protection, after.replay_ratio) == (7.3, 0.86)
    for _ in range(200):
        now = rule.next(now, ASKED, forgetting=0.0)
    assert now.protection == pytest.approx(1.0, abs=1e-3)
    assert now.replay_ratio == pytest.approx(0.5, abs=1e-3)


def test_what_was_not_measured_changes_nothing() -> None:
    now = Strength(protection=3.0, replay_ratio=0.7)
    assert Feedback().next(now, ASKED, forgetting=None) == now


def test_a_ratio_above_its_most_is_left_alone() -> None:
    high = Strength(replay_ratio=0.95)
    assert Feedback().next(high, high, forgetting=1.0).replay_ratio == 0.95


@pytest.mark.parametrize("bad", [{"full": 0.0}, {"replay_ratio": 0.99}, {"sinks": 2.0}, {"protection": 0.5}])
def test_a_rule_out_of_bounds_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Feedback(**bad)


@given(st.integers(1, 200), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_pace_rises_then_falls_to_its_floor(steps: int, warm: float, floor: float) -> None:
    paces = [cosine(step, steps, warm=warm, floor=floor) for step in range(steps + 3)]
    top = paces.index(max(paces))
    assert max(paces) == 1.0
    assert paces[: top + 1] == sorted(paces[: top + 1])
    assert paces[top:] == sorted(paces[top:], reverse=True)
    assert all(0.0 <= pace <= 1.0 for pace in paces)
    if top < steps - 1:
        assert paces[steps - 1 :] == pytest.approx([floor] * 4)


def test_without_warm_up_a_stream_has_its_rate_at_once() -> None:
    assert [warmed(step, 0) for step in range(3)] == [1.0] * 3


def test_an_episode_is_called_for_by_what_happened() -> None:
    when = ConsolidationScheduler(corrections=2, flags=1, inferences=5)
    when.answered(5)
    assert when.due(0.0) is None
    when.corrected(1, 0.0)
    assert when.due(0.0) == Reason(cause="inferences", found="5 questions were answered")
    when.corrected(1, 1.0)
    assert when.due(1.0) == Reason(cause="correction", found="2 came")
    when.flagged("it is wrong")
    assert when.due(1.0) == Reason(cause="verifier", found="it is wrong")
    other = ConsolidationScheduler(corrections=2, flags=1, inferences=5)
    other.load_state(when.state())
    other.flagged("another")
    assert when.due(2.0) == Reason(cause="verifier", found="it is wrong")
    when.rested(3.0)
    assert when.due(3.0) is None
    with pytest.raises(ConfigError, match="inferences is 0"):
        ConsolidationScheduler(inferences=0)
