"""GSS-greedy: scores against the gradients themselves, and the chances of a victim against its law."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.errors import ConfigError
from tenuto.memory.insertion.gss import ALONE, SUBSET, Greedy
from tenuto.protocols import Incoming
from tests.numbers import chances


def full(scores: list[float], seed: int = 0) -> Greedy:
    """A full memory of these scores."""
    policy = Greedy(len(scores), seed)
    policy.load_state({"scores": torch.tensor(scores, dtype=torch.float64)})
    return policy


def met(first: int, *cosines: float) -> Incoming:
    """Rows that have one cosine each with everything stored."""
    return Incoming(
        first, torch.zeros(len(cosines)), lambda slots: torch.tensor(cosines)[:, None] + 0 * slots
    )


def test_victims_and_their_fate_follow_the_law() -> None:
    """P(row takes slot i) = C_i / sum C * C_i / (C_i + C)."""
    scores, cosine, times = [0.2, 0.5, 1.0, 1.8], -0.6, 20_000
    policy = full(scores)
    counts = np.zeros(5)
    for number in range(times):
        counts[policy.slots(met(number, cosine))[0]] += 1
        policy.load_state({"scores": torch.tensor(scores, dtype=torch.float64)})
    c = np.array(scores)
    law = c / c.sum() * c / (c + 1 + cosine)
    assert chances.of_counts(counts, [*law, 1 - law.sum()]) > chances.LIKELY
    assert chances.of_counts(counts[:4], c / c.sum()) < chances.REFUTED


def test_a_row_takes_its_victims_place_and_not_its_score() -> None:
    policy = full([2.0, 2.0])
    taken = next(slot for n in range(20) if (slot := policy.slots(met(n, -0.99))[0]) >= 0)
    assert policy.state()["scores"].tolist()[taken] == pytest.approx(0.01)
    assert policy.state()["scores"].tolist()[1 - taken] == 2.0


def test_a_row_that_opposes_nothing_is_not_kept() -> None:
    policy = full([2.0, 2.0, 2.0])
    assert all(policy.slots(met(n, 0.0, 0.5, 1.0)) == [-1, -1, -1] for n in range(0, 300, 3))
    assert policy.state()["scores"].tolist() == [2.0, 2.0, 2.0]


def test_gradients_that_are_no_numbers_do_not_get_in() -> None:
    policy = full([2.0, 2.0])
    assert policy.slots(met(0, float("nan"))) == [-1]
    assert full([0.0, 0.0]).slots(met(0, -0.5)) == [-1]


def test_later_rows_do_not_meet_a_row_that_has_gone() -> None:
    """The second row agrees with the one stored row alone, whose place the first has taken."""
    policy = full([2.0])
    alike = Incoming(0, torch.zeros(2), lambda slots: torch.tensor([[-1.0], [-1.0]]))
    assert policy.slots(alike)[0] == 0
    assert policy.slots(Incoming(2, torch.zeros(2), alike.alike)) == [-1, -1]


def test_the_subset_is_random_distinct_and_bounded() -> None:
    asked: list[list[int]] = []

    def alike(slots: Tensor) -> Tensor:
        asked.append(slots.tolist())
        return torch.ones(1, len(slots))

    policy = full([1.0] * 25)
    for number in range(2000):
        policy.slots(Incoming(number, torch.zeros(1), alike))
    assert all(len(set(slots)) == SUBSET for slots in asked)
    counts = np.bincount(np.concatenate(asked), minlength=25)
    assert chances.of_subsets(counts, SUBSET, 2000) > chances.LIKELY


def test_without_gradients_it_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match="compares gradients"):
        Greedy(2, 0).slots(Incoming(0, torch.zeros(1)))
    with pytest.raises(ConfigError, match="needs a capacity"):
        Learner(method="joint", config=OnlineLearnerConfig(insertion="gss")).learn_batch(
            Batch(torch.zeros(1, 2), [0])
        )


def test_a_learner_scores_rows_by_their_gradients() -> None:
    """While memory fills up: C = 1 + max cosine with every stored row, at the parameters after the step."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Dropout(0.5), torch.nn.Linear(5, 2))
    learner = Learner(net, OnlineLearnerConfig(learning_rate=0.1, memory_size=50), method="gss")
    rows: list[tuple[Tensor, int]] = []

    def gradient(x: Tensor, y: int) -> Tensor:
        net.eval()
        loss = F.cross_entropy(net(x[None]), torch.tensor([y]))
        found = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])
        net.train()
        return found

    for number in range(SUBSET):
        x, y = torch.randn(3), number % 2
        learner.learn_batch(Batch(x[None], [y]))
        assert learner.memory is not None
        score = learner.memory.insertion.state()["scores"][-1].item()
        cosines = [float(F.cosine_similarity(gradient(x, y), gradient(*row), dim=0)) for row in rows]
        assert score == pytest.approx(1 + max(cosines) if rows else ALONE, abs=1e-5)
        rows.append((x, y))
