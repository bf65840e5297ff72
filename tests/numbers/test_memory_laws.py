"""What each memory policy promises, against its law; and the bugs that are common, refuted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tenuto.memory.insertion.class_balanced import ClassBalanced
from tenuto.memory.insertion.fifo import Fifo
from tenuto.memory.insertion.reservoir import Reservoir
from tenuto.memory.insertion.ring import Ring
from tenuto.memory.sampling.balanced import Balanced
from tenuto.memory.sampling.prioritized import Prioritized
from tenuto.memory.sampling.uniform import Uniform
from tenuto.protocols import Incoming, InsertionPolicy, Pool
from tenuto.randomness import uniform
from tests.numbers.chances import LIKELY, REFUTED, of_counts, of_pairs, of_subsets

CAPACITY, ROWS, SEEDS = 8, 40, 4000


def held(slots: list[int]) -> list[int]:
    """The row in each slot after rows were given these slots in turn."""
    memory = {slot: row for row, slot in enumerate(slots) if slot >= 0}
    return [memory[slot] for slot in sorted(memory)]


def offered(policy: InsertionPolicy, groups: list[int]) -> list[int]:
    """The rows a policy holds after a stream of these groups."""
    return held(policy.slots(Incoming(0, torch.tensor(groups))))


def reservoirs() -> NDArray[np.int64]:
    """The rows held by a reservoir under each seed."""
    return np.array([offered(Reservoir(CAPACITY, seed), [0] * ROWS) for seed in range(SEEDS)])


def test_a_reservoir_holds_every_row_equally_often() -> None:
    rows = reservoirs()
    assert of_subsets(np.bincount(rows.ravel(), minlength=ROWS), CAPACITY, SEEDS) > LIKELY
    assert of_pairs(rows, ROWS) > LIKELY


@pytest.mark.parametrize("n", [CAPACITY + 1, 1023, 1024, 1025, 3000])
def test_a_reservoir_holds_the_last_row_with_chance_capacity_over_n(n: int) -> None:
    slots = [Reservoir(CAPACITY, seed).slots(Incoming(n - 1, torch.zeros(1)))[0] for seed in range(SEEDS)]
    kept = sum(slot >= 0 for slot in slots)
    assert of_counts([kept, SEEDS - kept], [CAPACITY, n - CAPACITY]) > LIKELY
    if n < 100:
        assert of_counts(np.bincount([s for s in slots if s >= 0]), np.ones(CAPACITY)) > LIKELY


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda u, n: (u * n).astype(int), id="the count before the row, off by one"),
        pytest.param(lambda u, n: (u * (n + 2)).astype(int), id="an inclusive bound, off by one"),
        pytest.param(lambda u, n: (u * CAPACITY).astype(int), id="always kept"),
        pytest.param(lambda u, n: np.full(len(n), CAPACITY), id="the first rows are the sample"),
    ],
)
def test_a_wrong_reservoir_is_refuted(wrong: Callable[..., NDArray[np.int64]]) -> None:
    numbers = np.arange(ROWS)
    rows = []
    for seed in range(SEEDS):
        drawn = wrong(uniform(seed, "reservoir", numbers.astype(np.uint64)), numbers)
        slots = np.where(numbers < CAPACITY, numbers, np.where(drawn < CAPACITY, drawn, -1))
        rows.append(held(slots.tolist()))
    assert of_subsets(np.bincount(np.ravel(rows), minlength=ROWS), CAPACITY, SEEDS) < REFUTED


def test_fifo_holds_the_last_rows() -> None:
    for rows in (5, CAPACITY, 9, 100):
        assert sorted(offered(Fifo(CAPACITY), [0] * rows)) == list(range(max(0, rows - CAPACITY), rows))


def test_a_ring_holds_the_newest_rows_of_each_class_in_equal_shares() -> None:
    groups = [0] * 50 + [1] * 20 + [2] * 10
    rows = offered(Ring(9), groups)
    assert Counter(groups[row] for row in rows) == {0: 3, 1: 3, 2: 3}
    assert sorted(rows) == [47, 48, 49, 67, 68, 69, 77, 78, 79]


def test_a_ring_gives_a_rare_class_all_its_rows() -> None:
    groups = ([0] * 20 + [1]) * 3 + [0] * 20
    rows = offered(Ring(10), groups)
    assert Counter(groups[row] for row in rows) == {0: 7, 1: 3}
    assert [row for row in sorted(rows) if groups[row] == 0] == list(range(76, 83))


def imbalanced(seed: int) -> list[int]:
    """A stream of 300 rows: 240 of class 0, 50 of class 1, 10 of class 2, in some order."""
    return list(np.random.default_rng(seed).permutation([0] * 240 + [1] * 50 + [2] * 10))


def test_cbrs_ends_balanced_whatever_the_stream() -> None:
    for seed in range(20):
        groups = imbalanced(seed)
        assert Counter(groups[row] for row in offered(ClassBalanced(30, seed), groups)) == {
            0: 10,
            1: 10,
            2: 10,
        }
        assert Counter(groups[row] for row in offered(ClassBalanced(60, seed), groups)) == {
            0: 25,
            1: 25,
            2: 10,
        }


def test_cbrs_is_a_reservoir_within_each_class() -> None:
    groups = imbalanced(0)
    rows = np.array([sorted(offered(ClassBalanced(30, seed), groups)) for seed in range(SEEDS)])
    counts = np.bincount(rows.ravel(), minlength=len(groups))
    for group in (0, 1):
        mine = counts[[row for row, other in enumerate(groups) if other == group]]
        assert of_subsets(mine, 10, SEEDS) > LIKELY
    assert counts[[row for row, group in enumerate(groups) if group == 2]].tolist() == [SEEDS] * 10


POOL = Pool(10, torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 9, 9]))
STEPS = 20_000


def test_uniform_sampling_is_without_replacement_and_fair() -> None:
    policy = Uniform(0)
    rows = np.array([policy.rows(4, POOL, step, "replay")[0].tolist() for step in range(STEPS)])
    assert all(len(set(row)) == 4 for row in rows.tolist())
    assert of_subsets(np.bincount(rows.ravel(), minlength=10), 4, STEPS) > LIKELY
    assert of_pairs(rows, 10) > LIKELY


def test_uniform_draws_do_not_depend_on_what_was_drawn_before() -> None:
    """Draws are made ahead in blocks; a pool that changes, or a step back, must not change any."""
    steps = [0, 1, 2, 63, 64, 65, 3, 200, 201, 0]
    pools = [POOL, Pool(9, POOL.groups)]
    seasoned = Uniform(5)
    for turn, step in enumerate(steps * 3):
        pool, n = pools[turn % 7 == 0], 2 + turn % 2
        fresh = Uniform(5).rows(n, pool, step, "replay")[0]
        assert torch.equal(seasoned.rows(n, pool, step, "replay")[0], fresh)


def test_two_draws_of_one_step_are_independent() -> None:
    policy = Uniform(0)
    pairs = np.array(
        [
            (int(policy.rows(1, POOL, step, "labels")[0]), int(policy.rows(1, POOL, step, "logits")[0]))
            for step in range(STEPS)
        ]
    )
    assert of_counts(np.bincount(pairs[:, 0] * 10 + pairs[:, 1], minlength=100), np.ones(100)) > LIKELY


def test_balanced_sampling_gives_each_class_and_each_of_its_rows_the_same_chance() -> None:
    policy = Balanced(0)
    rows = np.concatenate([policy.rows(5, POOL, step, "replay")[0].numpy() for step in range(STEPS)])
    chances = [1 / 3 / 6] * 6 + [1 / 3 / 3] * 3 + [1 / 3]
    counts = np.bincount(rows, minlength=10)
    assert of_counts(counts, chances) > LIKELY
    assert of_counts(counts, np.ones(10)) < REFUTED


LOSSES = torch.tensor([0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 0.3, 0.3, 8.0, 1e-6])


def prioritized(alpha: float = 0.6, beta: float = 0.4) -> tuple[Prioritized, NDArray[np.float64]]:
    """A policy that saw these losses, and the chances of Schaul's equation 1."""
    policy = Prioritized(0, alpha=alpha, beta=beta, eps=1e-3)
    policy.added(list(range(10)))
    policy.seen(torch.arange(10), LOSSES)
    p = (LOSSES.double().numpy() + 1e-3) ** alpha
    return policy, p / p.sum()


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_prioritized_draws_follow_the_priorities(alpha: float) -> None:
    policy, p = prioritized(alpha)
    rows = np.concatenate([policy.rows(5, POOL, step, "replay")[0].numpy() for step in range(STEPS)])
    counts = np.bincount(rows, minlength=10)
    assert of_counts(counts, p) > LIKELY
    if alpha:
        assert of_counts(counts, np.ones(10)) < REFUTED


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_importance_weights_undo_the_priorities(beta: float) -> None:
    policy, p = prioritized(beta=beta)
    rows, weights = policy.rows(500, POOL, 0, "replay")
    assert weights is not None
    exact = (10 * p) ** -beta
    np.testing.assert_allclose(weights.numpy(), (exact / exact.max())[rows.numpy()], rtol=1e-6)
    if beta == 1.0:
        draws = [policy.rows(5, POOL, step, "replay") for step in range(STEPS)]
        total = np.zeros(10)
        for rows, weights in draws:
            assert weights is not None
            np.add.at(total, rows.numpy(), weights.double().numpy())
        common = np.flatnonzero(p > 0.02)
        np.testing.assert_allclose(total[common] / total[common].mean(), 1, atol=0.05)


def test_a_new_row_enters_with_the_largest_priority() -> None:
    policy, p = prioritized()
    policy.added([3, 10])
    rows, _ = policy.rows(1000, Pool(11, torch.zeros(11)), 0, "replay")
    counts = np.bincount(rows.numpy(), minlength=11)
    expected = np.append(p, p.max())
    expected[3] = p.max()
    assert of_counts(counts, expected) > LIKELY


def test_a_priority_is_refreshed_and_an_overflow_or_nan_keeps_the_old_one() -> None:
    policy, _ = prioritized()
    policy.seen(torch.tensor([8, 0, 1]), torch.tensor([0.0, float("nan"), float("inf")]))
    before = (LOSSES.double().numpy() + 1e-3) ** 0.6
    before[8] = 1e-3**0.6
    kept = policy.state()["priorities"][:10].numpy()
    np.testing.assert_allclose(kept, before, rtol=1e-12)
    policy.seen(torch.tensor([2]), torch.tensor([3e38]))
    rows, weights = policy.rows(20, POOL, 1, "replay")
    assert weights is not None
    assert rows.tolist() == [2] * 20
    assert bool(weights.isfinite().all())


def test_all_zero_losses_draw_evenly() -> None:
    policy = Prioritized(0)
    policy.added(list(range(10)))
    policy.seen(torch.arange(10), torch.zeros(10))
    rows = np.concatenate([policy.rows(5, POOL, step, "replay")[0].numpy() for step in range(2000)])
    assert of_counts(np.bincount(rows, minlength=10), np.ones(10)) > LIKELY
