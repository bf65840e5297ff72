"""The history of a run: its median, spread and scores, and the way back from its state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tenuto import trees
from tenuto.guards.shared.history import History

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


@given(NUMBERS, st.integers(1, 12))
def test_median_and_spread_are_those_of_the_last_numbers(numbers: list[float], size: int) -> None:
    history = History(size)
    for x in numbers:
        history.note(x)
    last = np.array(numbers[-size:])
    assert len(history) == len(last)
    assert history.median == pytest.approx(np.median(last))
    assert history.spread == pytest.approx(1.4826 * stats.median_abs_deviation(last), abs=1e-9)


@given(NUMBERS, st.lists(st.floats(-1e6, 1e6), max_size=20), st.integers(1, 12))
def test_a_saved_history_goes_on_alike(before: list[float], after: list[float], size: int) -> None:
    one, other = History(size), History(size)
    for x in before:
        one.note(x)
    other.load_state(trees.detach(one.state()))
    for x in after:
        one.note(x)
        other.note(x)
    assert trees.digest(one.state()) == trees.digest(other.state())
    assert (one.median, one.spread) == (other.median, other.spread)


def test_the_score_of_gaussian_numbers_is_standard() -> None:
    draws = np.random.default_rng(0).normal(3.0, 2.0, 4000)
    history = History(4000)
    for x in draws:
        history.note(float(x))
    assert history.z(3.0 + 2.0 * 4.0) == pytest.approx(4.0, rel=0.05)


def test_equal_numbers_make_nothing_unusual() -> None:
    history, floored = History(4), History(4, least=0.5)
    for _ in range(4):
        history.note(1.0)
        floored.note(1.0)
    assert history.z(9.0) == 0.0
    assert floored.z(9.0) == 16.0


def test_a_history_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="5 numbers"):
        History(5).load_state({"ring": torch.zeros(4), "next": 0, "count": 0})
