"""Counter-based draws: uniform, independent, and the same in any order."""

from __future__ import annotations

import math
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tenuto.randomness import choose, permutation, span, torch_draws, uniform
from tests.numbers.chances import LIKELY, REFUTED, of_counts, of_pairs, of_subsets

N = 100_000
STREAMS = [(seed, purpose) for seed in (0, 1, 2**62) for purpose in ("replay", "reservoir")]


def numbers(first: int = 0, n: int = N) -> NDArray[np.uint64]:
    return np.arange(first, first + n, dtype=np.uint64)


@pytest.mark.parametrize(("seed", "purpose"), STREAMS)
@pytest.mark.parametrize("first", [0, 2**40])
def test_uniform_draws_are_uniform(seed: int, purpose: str, first: int) -> None:
    u = uniform(seed, purpose, numbers(first))
    assert 0 <= u.min() <= u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > LIKELY
    grid = np.histogram2d(u[:-1:2], u[1::2], bins=20, range=[[0, 1], [0, 1]])[0]
    assert of_counts(grid.ravel(), np.ones(400)) > LIKELY


def test_one_draw_per_step_is_uniform_over_the_steps() -> None:
    u = uniform(0, "replay", span(0, 3, steps=20_000))
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > LIKELY


def test_streams_are_independent_of_one_another() -> None:
    streams = [uniform(seed, purpose, numbers()) for seed, purpose in STREAMS]
    streams += [uniform(0, "replay", numbers(lag)) for lag in (1, 2, 10, 1 << 20)]
    for one, other in combinations(streams, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4.5 / math.sqrt(N)


def test_one_bit_of_a_counter_changes_half_of_the_bits() -> None:
    before = (uniform(0, "bits", numbers()) * 2**53).astype(np.uint64)
    for bit in (0, 7, 31, 63):
        after = (uniform(0, "bits", numbers() ^ np.uint64(1 << bit)) * 2**53).astype(np.uint64)
        flipped = np.unpackbits((before ^ after).view(np.uint8)).sum() / N
        assert flipped == pytest.approx(26.5, abs=0.1)


@given(st.permutations(range(40)), st.integers(0, 2**63 - 1))
def test_any_order_gives_the_same_draws(order: list[int], seed: int) -> None:
    whole = uniform(seed, "replay", numbers(n=40))
    assert np.array_equal(uniform(seed, "replay", np.array(order, dtype=np.uint64)), whole[order])


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(1, 1 << 20))
def test_no_two_steps_share_a_counter(step: int, other: int, n: int) -> None:
    mine, theirs = span(step, n)[0], span(other, n)[0]
    assert step == other or mine[-1] < theirs[0] or theirs[-1] < mine[0]


@given(st.integers(0, 1000), st.integers(1, 30), st.integers(0, 30), st.integers(1, 5))
def test_choosing_gives_distinct_numbers_in_range(step: int, n: int, more: int, steps: int) -> None:
    picks = choose(7, "replay", step, n, n + more, steps)
    assert picks.shape == (steps, n)
    assert picks.min() >= 0
    assert picks.max() < n + more
    assert all(len(set(row)) == n for row in picks.tolist())
    alone = [choose(7, "replay", step + i, n, n + more)[0].tolist() for i in range(steps)]
    assert picks.tolist() == alone


@pytest.mark.parametrize(("n", "size"), [(1, 7), (3, 10), (10, 12), (9, 40)])
def test_every_subset_is_equally_likely(n: int, size: int) -> None:
    picks = choose(0, "replay", 0, n, size, steps=20_000)
    assert of_subsets(np.bincount(picks.ravel(), minlength=size), n, 20_000) > LIKELY
    if n > 1:
        assert of_pairs(picks, size) > LIKELY


def test_every_subset_of_three_in_five_is_equally_likely() -> None:
    picks = np.sort(choose(3, "replay", 0, 3, 5, steps=20_000), axis=1)
    found = [int((picks == subset).all(1).sum()) for subset in combinations(range(5), 3)]
    assert of_counts(found, np.ones(10)) > LIKELY


def test_a_biased_choice_is_refuted() -> None:
    """Resolving a collision by the next free number is the bug that this test is for."""
    u = uniform(0, "replay", span(0, 3, steps=20_000))
    picks = np.empty((20_000, 3), dtype=np.int64)
    for row, draws in enumerate((u * 10).astype(int).tolist()):
        taken: list[int] = []
        for pick in draws:
            while pick in taken:
                pick = (pick + 1) % 10
            taken.append(pick)
        picks[row] = taken
    assert of_pairs(picks, 10) < REFUTED


def test_permutations_are_equally_likely() -> None:
    found = [tuple(permutation(seed, "rehearse", 4).tolist()) for seed in range(6000)]
    assert of_counts([found.count(order) for order in permutations(range(4))], np.ones(24)) > LIKELY


def test_torch_draws_are_keyed_and_leave_no_mark() -> None:
    before = torch.get_rng_state()
    drawn = {}
    for key in [(0, "forward", 0), (0, "forward", 1), (0, "model", 0), (1, "forward", 0)]:
        with torch_draws(*key):
            drawn[key] = torch.rand(4).tolist()
    with torch_draws(0, "forward", 0):
        assert torch.rand(4).tolist() == drawn[0, "forward", 0]
    assert len({*map(tuple, drawn.values())}) == 4
    assert torch.equal(torch.get_rng_state(), before)


def test_torch_draws_of_many_steps_have_seeds_of_their_own() -> None:
    """2,000 seeds of 32 bits share one with a chance of 1 in 2,000."""
    firsts = []
    for step in range(2000):
        with torch_draws(0, "forward", step):
            firsts.append(torch.rand(1).item())
    assert len(set(firsts)) >= 1998
    assert stats.kstest(firsts, "uniform").pvalue > LIKELY


def test_a_generator_is_put_back_after_an_error() -> None:
    before = torch.get_rng_state()

    def fail() -> None:
        with torch_draws(0, "forward", 0):
            torch.rand(3)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)
