"""Priorities: the two-level sum draws as a plain running sum does, whatever is written and in what order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tenuto.errors import ConfigError
from tenuto.memory.sampling.prioritized import Prioritized
from tenuto.memory.sums import HIGHEST, WIDTH, Sums
from tenuto.protocols import Pool
from tests.numbers.chances import LIKELY, REFUTED, of_counts

PRIORITIES = st.one_of(st.just(0.0), st.floats(0, 10), st.floats(1e-30, 1e30), st.sampled_from([1.0, 2.0]))
WRITES = st.lists(
    st.tuples(
        st.integers(0, 150), st.lists(PRIORITIES, min_size=1, max_size=70), st.booleans(), st.booleans()
    ),
    min_size=1,
    max_size=12,
)
U = np.append(np.linspace(0, 1, 97, endpoint=False), np.nextafter(1.0, 0))


def filled(priorities: NDArray[np.float64]) -> Sums:
    """The sums of these priorities."""
    sums = Sums()
    sums.write(np.arange(len(priorities)), priorities)
    return sums


def naive(priorities: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
    """The first row whose running sum exceeds each draw."""
    ends = priorities.cumsum()
    return ends.searchsorted(u * ends[-1], side="right")


@given(WRITES)
def test_it_is_a_function_of_what_was_written_last(
    writes: list[tuple[int, list[float], bool, bool]],
) -> None:
    sums, plain = Sums(), np.zeros(0)
    for start, values, at_once, drawn in writes:
        slots = np.arange(start, start + len(values))
        slots = slots if at_once else slots % 40
        plain = np.append(plain, np.zeros(max(0, slots.max() + 1 - len(plain))))
        plain[slots] = values
        sums.write(slice(start, start + len(values)) if at_once else slots, np.array(values))
        if drawn:
            assert (sums.largest, sums.least) == (plain.max(), plain.min())
            sums.find(U)
    again = Sums()
    again.load(plain)
    assert np.array_equal(sums.priorities, plain)
    assert (sums.largest, sums.least) == (plain.max(), plain.min())
    assert sums.total == again.total
    assert np.array_equal(sums.find(U), again.find(U))
    assert sums.total == pytest.approx(plain.sum(), rel=1e-12)
    assert sums.find(U).max() < len(plain)
    if plain.any():
        assert plain[sums.find(U)].all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=200))
def test_it_finds_what_a_running_sum_finds(weights: list[int]) -> None:
    priorities = np.array(weights, dtype=float)
    if priorities.any():
        u = (np.arange(64) + 0.5) / 64
        assert np.array_equal(filled(priorities).find(u), naive(priorities, u))


def test_draws_follow_the_priorities_by_chi_squared() -> None:
    rng = np.random.default_rng(0)
    priorities = rng.exponential(size=5 * WIDTH + 3) * rng.integers(0, 2, 5 * WIDTH + 3)
    sums = filled(priorities)
    for _ in range(40):
        slots = rng.integers(0, len(priorities), 20)
        priorities[slots] = rng.exponential(size=20)
        sums.write(slots, priorities[slots])
        sums.find(rng.random(3))
    counts = np.bincount(sums.find(rng.random(200_000)), minlength=len(priorities))
    there = priorities > 0
    assert not counts[~there].any()
    assert of_counts(counts[there], priorities[there]) > LIKELY
    assert of_counts(counts[there], np.ones(there.sum())) < REFUTED


def test_where_every_priority_is_zero_all_rows_are_alike() -> None:
    sums = filled(np.zeros(70))
    assert np.bincount(sums.find((np.arange(700) + 0.5) / 700)).tolist() == [10] * 70


def test_a_draw_next_to_one_is_of_a_row_that_counts() -> None:
    last = np.array([np.nextafter(1.0, 0)])
    rng = np.random.default_rng(1)
    for seed in range(300):
        priorities = np.append(
            rng.random(rng.integers(1, 150)) * 10.0 ** (seed % 30 - 15), np.zeros(seed % 70)
        )
        assert priorities[filled(priorities).find(last)].all()


def test_one_row_may_outweigh_all_others_and_give_way_again() -> None:
    sums = filled(np.full(100, 1e-3))
    sums.write(np.array([50]), np.array([HIGHEST]))
    assert sums.find(U[1:]).tolist() == [50] * (len(U) - 1)
    sums.write(np.array([50]), np.array([1e-3]))
    assert sums.total == pytest.approx(0.1, rel=1e-12)
    assert len(set(sums.find(U).tolist())) > 90


def test_of_a_slot_named_twice_the_last_priority_stays() -> None:
    sums = filled(np.ones(4))
    sums.update(np.array([2, 2, 1]), np.array([9.0, 0.5, 3.0]))
    assert (sums.priorities.tolist(), sums.largest, sums.least) == ([1.0, 3.0, 0.5, 1.0], 3.0, 0.5)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), 1e300])
def test_what_cannot_be_a_priority_is_refused_and_changes_nothing(bad: float) -> None:
    sums = filled(np.ones(4))
    with pytest.raises(ConfigError, match="priorities"):
        sums.write(np.array([1, 7]), np.array([2.0, bad]))
    assert sums.priorities.tolist() == [1.0] * 4
    with pytest.raises(IndexError):
        sums.update(np.array([4]), np.array([2.0]))


def test_writes_without_a_draw_do_not_pile_up() -> None:
    sums = filled(np.ones(40))
    for _ in range(1000):
        sums.write(np.arange(20), np.ones(20))
    assert len(sums._written) <= 65
    assert sums.total == 40.0


def test_priorities_that_0_1_saved_with_room_behind_them_are_taken() -> None:
    saved, policy = torch.zeros(64, dtype=torch.float64), Prioritized(0)
    saved[:3] = torch.tensor([1.0, 2.0, 4.0])
    policy.load_state({"priorities": saved})
    rows, weights = policy.rows(40, Pool(3, torch.zeros(3)), 0, "replay")
    assert weights is not None
    assert set(rows.tolist()) == {0, 1, 2}
    assert weights.max() == 1
    assert policy.state()["priorities"].tolist() == [1.0, 2.0, 4.0]
