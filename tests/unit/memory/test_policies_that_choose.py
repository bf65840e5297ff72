"""Policies that choose by value: what they keep, what they draw, and the traps they must not fall into."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.errors import ConfigError
from tenuto.memory import ReplayBuffer
from tenuto.memory.ranked import Ranked
from tenuto.memory.sampling.diverse import Diverse
from tenuto.memory.sampling.uncertain import Uncertain
from tenuto.memory.sampling.uniform import Uniform
from tenuto.models import MLP
from tenuto.protocols import Incoming, Pool
from tests.numbers.chances import LIKELY, REFUTED, of_counts

STREAM = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=60
)


def buffer(insertion: str, capacity: int = 8, sampling: str = "uniform") -> ReplayBuffer:
    return ReplayBuffer(capacity=capacity, insertion=insertion, sampling=sampling)


def offer(to: ReplayBuffer, inputs: Any, losses: Any = None, groups: Any = None) -> list[int]:
    """Offer rows with these inputs (n, d) and losses (n,)."""
    x = torch.as_tensor(inputs, dtype=torch.float32)
    known = torch.ones(len(x)) if losses is None else torch.as_tensor(losses, dtype=torch.float32)
    codes = torch.zeros(len(x), dtype=torch.int64) if groups is None else torch.as_tensor(groups)
    return to.add(codes, {"inputs": x, "targets": codes}, None, known)


def held(of: ReplayBuffer) -> list[list[float]]:
    """The inputs held, sorted."""
    return sorted(of.table.get(torch.arange(len(of)))["inputs"].tolist())


@pytest.mark.parametrize("insertion", ["coreset", "mixed"])
@given(STREAM, st.integers(1, 7))
def test_novelty_is_the_distance_to_the_nearest_other_row_of_the_group(
    insertion: str, stream: list[tuple[int, int, int]], split: int
) -> None:
    kept = buffer(insertion)
    for start in range(0, len(stream), split):
        part = stream[start : start + split]
        offer(kept, [row[1:] for row in part], [row[1] for row in part], [row[0] for row in part])
    rows = kept.table.get(torch.arange(len(kept)))
    state = kept.insertion.state()
    between = torch.cdist(rows["inputs"].double(), rows["inputs"].double())
    between[rows["targets"][:, None] != rows["targets"]] = torch.inf
    between.fill_diagonal_(torch.inf)
    torch.testing.assert_close(state["novelty"], between.min(1).values, rtol=1e-6, atol=1e-6)
    assert torch.equal(state["group"], rows["targets"])


@given(STREAM)
def test_a_coreset_is_the_same_however_rows_are_split(stream: list[tuple[int, int, int]]) -> None:
    memories = []
    for split in (1, 3, 60):
        kept = buffer("coreset")
        for start in range(0, len(stream), split):
            part = stream[start : start + split]
            offer(kept, [row[1:] for row in part], groups=[row[0] for row in part])
        memories.append(kept.table.get(torch.arange(len(kept)))["inputs"].tolist())
    assert memories[0] == memories[1] == memories[2]


def test_a_coreset_spreads_and_never_comes_closer() -> None:
    kept, rng, before = buffer("coreset", 12), np.random.default_rng(0), 0.0
    offer(kept, rng.normal(size=(12, 2)) * 0.01)
    for _ in range(60):
        offer(kept, rng.normal(size=(5, 2)) * rng.choice([0.01, 3.0], size=(5, 1)))
        now = float(kept.insertion.state()["novelty"].min())
        assert now >= before
        before = now
    assert before > 0.5


def test_a_repeated_row_is_not_held_twice() -> None:
    kept = buffer("coreset", 3)
    assert offer(kept, [[0.0], [1.0], [2.0]]) == [0, 1, 2]
    assert offer(kept, [[1.0], [1.0], [2.0]]) == [-1, -1, -1]


@pytest.mark.parametrize("insertion", ["surprise", "coreset", "mixed", "herding"])
def test_groups_come_to_equal_shares(insertion: str) -> None:
    kept, rng = buffer(insertion, 30), np.random.default_rng(0)
    for group, count in ((0, 400), (1, 40), (2, 12)):
        offer(kept, rng.normal(size=(count, 2)), rng.random(count), [group] * count)
    assert kept.groups() == {0: 10, 1: 10, 2: 10}


@pytest.mark.parametrize("insertion", ["surprise", "mixed"])
def test_what_surprises_stays_and_what_does_not_goes(insertion: str) -> None:
    kept, rng = buffer(insertion, 100), np.random.default_rng(0)
    losses = rng.random(2000)
    for part in np.split(np.arange(2000), 100):
        offer(kept, np.stack([part, losses[part] * 0], 1), losses[part])
    mean = losses[[int(row[0]) for row in held(kept)]].mean()
    assert mean > 0.5 + 5 * losses.std() / 10, mean


@pytest.mark.parametrize("insertion", ["surprise", "coreset", "mixed"])
def test_an_old_row_does_not_go_for_its_age(insertion: str) -> None:
    """Of rows equal in value but for one, the oldest row stays where it is the one of value."""
    kept, rng = Ranked(9, 0, surprise=1.0, temperature=0.0), np.random.default_rng(0)
    if insertion != "surprise":
        weight = 0.0 if insertion == "coreset" else 0.5
        kept = Ranked(9, 0, surprise=weight, temperature=0.0)
    store = torch.zeros(9, 1)
    for number in range(3000):
        x = torch.tensor([[1e3 if number == 0 else float(rng.random())]])
        loss = torch.tensor([9.0 if number == 0 else float(rng.random())])
        (slot,) = kept.slots(Incoming(number, torch.zeros(1), None, loss, x, lambda slots: store[slots]))
        if slot >= 0:
            store[slot] = x
    assert 1e3 in store


def test_use_alone_gives_a_row_no_worth() -> None:
    used, unused = buffer("surprise", 5), buffer("surprise", 5)
    for kept in (used, unused):
        offer(kept, [[float(i)] for i in range(5)], [5.0, 4.0, 3.0, 2.0, 1.0])
    for _ in range(500):
        used.seen_again(torch.tensor([4]), torch.tensor([1.0]))
    for kept in (used, unused):
        offer(kept, [[float(i)] for i in range(5, 60)], [1.5] * 55)
    assert held(used) == held(unused)


def test_scores_keep_step_with_rows() -> None:
    """A slot's score is that of the row it holds now; what a replay told of the old row is gone."""
    kept = Ranked(2, 0, surprise=1.0, temperature=0.0)
    kept.slots(Incoming(0, torch.zeros(2), losses=torch.tensor([1.0, 5.0])))
    kept.seen(torch.tensor([1, 0]), torch.tensor([0.1, float("nan")]))
    assert kept.slots(Incoming(2, torch.zeros(1), losses=torch.tensor([3.0]))) == [1]
    assert kept.state()["loss"].tolist() == [1.0, 3.0]


def test_no_loss_is_too_large_to_rank() -> None:
    kept = buffer("surprise", 4)
    offer(kept, torch.zeros(9, 1), [1e38, float("inf"), float("nan"), 0.0, 3e38, 1.0, 2.0, -1.0, 1e-30])
    assert bool(kept.insertion.state()["loss"].isfinite().all())


@pytest.mark.parametrize(("surprise", "named"), [(1.0, "losses"), (0.0, "inputs")])
def test_without_what_it_compares_it_says_so(surprise: float, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Ranked(2, 0, surprise=surprise, temperature=0.0).slots(Incoming(0, torch.zeros(1)))


def test_rows_are_given_up_by_the_law_of_their_rank() -> None:
    counts = np.zeros(4)
    for seed in range(3000):
        kept = Ranked(3, seed, surprise=1.0, temperature=0.5)
        kept.slots(Incoming(0, torch.zeros(3), losses=torch.tensor([1.0, 3.0, 4.0])))
        slot = kept.slots(Incoming(3, torch.zeros(1), losses=torch.tensor([2.0])))[0]
        counts[{0: 0, -1: 1, 1: 2, 2: 3}[slot]] += 1
    assert of_counts(counts, [1, 1 / 4, 1 / 9, 1 / 16]) > LIKELY


def test_a_learner_gives_fresh_losses_and_refreshes_them() -> None:
    config = OnlineLearnerConfig(learning_rate=1e-9, insertion="surprise", head="fixed", classes=(0, 1))
    learner = Learner(config=config)
    inputs, targets = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), [0, 1, 0, 1, 1, 0]
    learner.learn_batch(Batch(inputs, targets))
    assert learner.memory is not None
    exact = F.cross_entropy(learner.predict(inputs).outputs, torch.tensor(targets), reduction="none")
    told = learner.memory.insertion.state()["loss"]
    torch.testing.assert_close(told, exact.double(), rtol=1e-4, atol=1e-5)
    assert Learner(config=OnlineLearnerConfig(insertion="reservoir")).memory.needs == frozenset()  # type: ignore[union-attr]


# Sampling ------------------------------------------------------------------------------------------


def test_uncertain_draws_follow_the_ranks_of_entropy() -> None:
    policy, pool = Uncertain(0, temperature=1.0), Pool(5, torch.zeros(5))
    policy.added([0, 1, 2, 3, 4])
    policy.seen(torch.tensor([3, 0, 1, 2]), torch.tensor([0.5, 0.1, 3e38, float("nan")]))
    rows = np.concatenate([policy.rows(5, pool, step, "replay")[0].numpy() for step in range(2000)])
    counts = np.bincount(rows, minlength=5)
    ranked = [2, 4, 1, 3, 0]
    assert of_counts(counts[ranked], 1 / np.arange(1, 6)) > LIKELY
    assert of_counts(counts, np.ones(5)) < REFUTED


def test_entropy_is_that_of_the_newest_answer() -> None:
    config = OnlineLearnerConfig(
        learning_rate=1e-9, sampling="uncertain", head="fixed", classes=(0, 1), replay_ratio=0.9
    )
    learner = Learner(MLP(3, (8,), 2), config)
    inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    for _ in range(6):
        learner.learn_batch(Batch(inputs, [0, 1, 0, 1]))
    assert learner.memory is not None
    entropy = learner.memory.sampling.state()["entropy"]
    p = learner.predict(learner.memory.table.columns["inputs"][: len(entropy)]).probabilities
    assert p is not None
    exact = -(p * p.log()).sum(1).double()
    seen = entropy.isfinite()
    assert int(seen.sum()) >= 4
    torch.testing.assert_close(entropy[seen], exact[seen], rtol=1e-4, atol=1e-5)


def test_numbers_have_no_entropy() -> None:
    with pytest.raises(ConfigError, match="regression"):
        Learner(config=OnlineLearnerConfig(sampling="uncertain", task="regression"))


def _spread(policy: Any, inputs: Tensor, count: int) -> float:
    """The mean over draws of the distance between the two closest rows drawn."""
    pool, least = Pool(count, torch.zeros(count), lambda slots: inputs[slots]), []
    for step in range(50):
        slots, _ = policy.rows(8, pool, step, "replay")
        assert len(set(slots.tolist())) == 8
        least.append(float(torch.pdist(inputs[slots]).min()))
    return sum(least) / len(least)


def test_diverse_draws_lie_farther_apart_and_reach_every_row() -> None:
    inputs = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    assert _spread(Diverse(0), inputs, 100) > 3 * _spread(Uniform(0), inputs, 100)
    pool = Pool(100, torch.zeros(100), lambda slots: inputs[slots])
    drawn = torch.cat([Diverse(0).rows(8, pool, step, "replay")[0] for step in range(600)])
    assert len(drawn.unique()) == 100


def test_diverse_draws_of_equal_rows_are_distinct() -> None:
    pool = Pool(50, torch.zeros(50), lambda slots: torch.zeros(len(slots), 3))
    assert len(set(Diverse(0).rows(10, pool, 0, "replay")[0].tolist())) == 10
    with pytest.raises(ConfigError, match="stored"):
        Diverse(0).rows(3, Pool(50, torch.zeros(50)), 0, "replay")
