"""What a curriculum promises: every row once, none too early or too late, the easy ones first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenuto.errors import ConfigError, StateError
from tenuto.streams import Backlog, LevelUp, Pacing
from tenuto.streams.pacing import EASY, order

DIFFICULTIES = st.lists(st.sampled_from([EASY, 0.0, 1.0, 2.0, 2.5]) | st.floats(-1e300, 1e300), max_size=60)
PACINGS = st.builds(
    Pacing,
    window=st.integers(1, 80),
    patience=st.integers(0, 80),
    start=st.floats(0.0, 1.0),
    power=st.sampled_from([1.0, 2.0, 3.5]),
    rows=st.none() | st.integers(1, 100),
)


@settings(deadline=None)
@given(difficulties=DIFFICULTIES, pacing=PACINGS)
def test_every_row_comes_once_and_within_its_bounds(difficulties: list[float], pacing: Pacing) -> None:
    found = order(np.array(difficulties, dtype=np.float64), pacing)
    assert sorted(found.tolist()) == list(range(len(difficulties)))
    late = np.arange(len(found)) - found
    assert (late <= pacing.patience).all()
    assert (-late < pacing.window).all()


@settings(deadline=None)
@given(difficulties=DIFFICULTIES, pacing=PACINGS)
def test_only_the_order_of_difficulties_counts(difficulties: list[float], pacing: Pacing) -> None:
    values = np.array(difficulties, dtype=np.float64)
    ranks = np.where(values > EASY, np.unique(values, return_inverse=True)[1].astype(np.float64), EASY)
    assert order(values, pacing).tolist() == order(ranks, pacing).tolist()


@settings(deadline=None)
@given(
    pushes=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), max_size=80),
    patience=st.integers(0, 20),
    allowed=st.floats(0, 1),
)
def test_a_backlog_starves_no_row(pushes: list[tuple[int, float]], patience: int, allowed: float) -> None:
    backlog = Backlog[int](patience)
    came: list[int] = []
    for number, (pops, difficulty) in enumerate(pushes):
        backlog.push(number, difficulty)
        came += [backlog.pop(allowed) for _ in range(min(pops, len(backlog)))]
    came += [backlog.pop(allowed) for _ in range(len(backlog))]
    assert sorted(came) == list(range(len(pushes)))
    assert all(place - number <= patience for place, number in enumerate(came))


def test_a_row_waits_exactly_as_long_as_patience_allows() -> None:
    difficulties = np.array([9.0] + [0.0] * 50)
    for patience in (0, 1, 17, 50):
        assert order(difficulties, Pacing(patience=patience)).tolist().index(0) == patience
    assert order(difficulties, Pacing(patience=90)).tolist().index(0) == 50


def test_with_room_enough_rows_of_distinct_difficulty_come_as_competence_grows() -> None:
    n = 400
    difficulty = np.random.default_rng(0).permutation(n).astype(np.float64)
    pacing = Pacing(start=0.1)
    found = order(difficulty, pacing)
    for t, offset in enumerate(found):
        assert difficulty[offset] / n <= pacing.competence(t, n)
    again = order(difficulty, Pacing(start=1.0))
    assert again.tolist() == list(range(n)), "a competent learner gets the stream as it is"


def test_competence_is_that_of_the_paper() -> None:
    pacing = Pacing(start=0.2, rows=50)
    for t in range(60):
        closed = min(1.0, (t * (1 - 0.2**2) / 50 + 0.2**2) ** 0.5)
        assert pacing.competence(t, 999) == pytest.approx(closed, abs=1e-15)
    line = Pacing(start=0.25, power=1.0)
    assert [line.competence(t, 4) for t in (0, 2, 4)] == [0.25, 0.625, 1.0]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"window": 0}, "window is 0; it must be at least 1"),
        ({"patience": -1}, "patience is -1; it must be at least 0"),
        ({"start": 1.5}, "start is 1.5; it must be at most 1"),
        ({"power": 0.5}, "power is 0.5; it must be at least 1"),
        ({"rows": 0}, "rows is 0; it must be at least 1"),
        ({"window": "many"}, "window is 'many'"),
    ],
)
def test_settings_are_checked(options: dict, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        Pacing(**options)


def test_a_backlog_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="no row waits"):
        Backlog[int](3).pop(1.0)
    with pytest.raises(ConfigError, match="difficulty of row 0 is nan"):
        Backlog[int](3).push(1, float("nan"))
    with pytest.raises(ConfigError, match="patience is -1"):
        Backlog[int](-1)


@settings(deadline=None)
@given(answers=st.lists(st.booleans(), max_size=80), cut=st.integers(0, 80), window=st.integers(1, 9))
def test_level_up_goes_on_from_its_state_and_never_down(answers: list[bool], cut: int, window: int) -> None:
    def fresh() -> LevelUp:
        return LevelUp([1, 2, 3], threshold=0.6, window=window)

    whole, first, second = fresh(), fresh(), fresh()
    levels = []
    for right in answers:
        went_up = whole.update(right)
        assert went_up == ((bool(levels) and whole.level > levels[-1]) or (not levels and whole.level > 1))
        levels.append(whole.level)
    assert levels == sorted(levels)
    for right in answers[:cut]:
        first.update(right)
    second.load_state(first.state())
    for right in answers[cut:]:
        second.update(right)
    assert (second.level, second.state()) == (whole.level, whole.state())


def test_level_up_needs_a_full_window_of_answers_at_each_level() -> None:
    reached = LevelUp([1, 2, 5], threshold=0.8, window=5)
    went_up = [reached.update(i not in (0, 1)) for i in range(20)]
    assert [i for i, up in enumerate(went_up) if up] == [5, 10]
    assert reached.level == 5


@pytest.mark.parametrize("levels", [[], [2, 1], [1, 1]])
def test_levels_ascend(levels: list[float]) -> None:
    with pytest.raises(ConfigError, match="in ascending order"):
        LevelUp(levels)


def test_level_up_checks_its_settings_and_its_state() -> None:
    with pytest.raises(ConfigError, match="threshold is 0"):
        LevelUp([1], threshold=0.0)
    with pytest.raises(ConfigError, match="window 0"):
        LevelUp([1], window=0)
    with pytest.raises(StateError, match="level 4 with 0 answers"):
        LevelUp([1, 2]).load_state({"at": 4, "right": []})
