"""ER-ring, ER-ACE and MIR against their papers' formulas, written out by hand on the same rows."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.methods.shared.batches import chosen
from tenuto.types import Draw

CONFIG = OnlineLearnerConfig(learning_rate=0.1, memory_size=30, seed=3)


def model(outputs: int = 6) -> nn.Module:
    """A small model, the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, outputs))


def stream(steps: int, *, weighted: bool = False, seed: int = 0) -> list[Batch]:
    """Batches of four rows, two classes at a time; later batches hold later classes."""
    g = torch.Generator().manual_seed(seed)
    return [
        Batch(
            torch.randn(4, 3, generator=g),
            (torch.randint(0, 2, (4,), generator=g) + 2 * (3 * step // steps)).tolist(),
            torch.rand(4, generator=g) + 0.5 if weighted else None,
        )
        for step in range(steps)
    ]


def test_er_ring_is_er_over_rings() -> None:
    ring = Learner(model(), CONFIG, method="er_ring", options={"ratio": 0.4})
    er = Learner(
        model(), OnlineLearnerConfig.of(CONFIG.to_plain() | {"insertion": "ring"}), options={"ratio": 0.4}
    )
    for batch in stream(30):
        ring.learn_batch(batch)
        er.learn_batch(batch)
    assert ring.stats.replayed > 30
    assert ring.memory is not None
    assert er.memory is not None
    assert ring.memory.groups() == er.memory.groups() == dict.fromkeys(range(6), 5)
    for one, other in zip(ring.model.parameters(), er.model.parameters(), strict=True):
        assert torch.equal(one, other)


def asymmetric(outputs: Tensor, batch: Batch) -> Tensor:
    """Fresh rows against the classes among them, replayed rows against all: log-sum-exp by hand."""
    n, total = batch.fresh, torch.zeros(())
    present = sorted(set(batch.targets[:n].tolist()))
    for row, (z, y) in enumerate(zip(outputs, batch.targets.tolist(), strict=True)):
        weight = 1.0 if batch.weights is None else float(batch.weights[row])
        columns = z[present] if row < n else z
        part = n if row < n else len(batch) - n
        total = total + weight * (columns.exp().sum().log() - z[y]) / part
    return total


@pytest.mark.parametrize("weighted", [False, True])
def test_er_ace_is_the_asymmetric_cross_entropy(weighted: bool) -> None:
    learner = Learner(model(), CONFIG, method="er_ace")
    for batch in stream(25, weighted=weighted):
        twin = copy.deepcopy(learner.model)
        trace = learner.learn_batch(batch)
        loss = asymmetric(twin(trace.batch.inputs), trace.batch)
        torch.testing.assert_close(trace.estimate.loss, loss.detach(), rtol=1e-5, atol=1e-6)
        grads = torch.autograd.grad(loss, list(twin.parameters()))
        for now, was, grad in zip(learner.model.parameters(), twin.parameters(), grads, strict=True):
            torch.testing.assert_close(now, was - 0.1 * grad, rtol=1e-5, atol=1e-6)


def test_er_ace_leaves_absent_classes_to_replay() -> None:
    """No fresh row moves the output of an earlier class, or of one never seen."""
    learner = Learner(model(), CONFIG, method="er_ace")
    head = learner.model[2]
    before = head.weight.detach().clone()
    learner.learn_batch(Batch(torch.randn(4, 3), [0, 1, 0, 1]))
    assert torch.equal(head.weight[2:], before[2:])
    assert not torch.equal(head.weight[:2], before[:2])


@pytest.mark.parametrize("candidates", [1, 9, 200])
def test_mir_replays_what_a_step_on_the_fresh_rows_spoils_most(candidates: int) -> None:
    """Brute force: one forward per candidate, before and after a plain step."""
    learner = Learner(model(), CONFIG, method="mir", options={"candidates": candidates})
    chose = 0
    for batch in stream(25, weighted=True):
        assert learner.memory is not None
        pool = learner.memory.sample(candidates, learner.steps, "candidates")
        twin = copy.deepcopy(learner.model)
        ahead = copy.deepcopy(twin)
        trace = learner.learn_batch(batch)
        if pool is None:
            continue
        loss = (F.cross_entropy(ahead(batch.inputs), torch.tensor(batch.targets), reduction="none")) @ (
            batch.weights
        )
        for p, grad in zip(
            ahead.parameters(), torch.autograd.grad(loss / 4, list(ahead.parameters())), strict=True
        ):
            p.data -= 0.1 * grad
        rises = [
            (F.cross_entropy(ahead(x[None]), y[None]) - F.cross_entropy(twin(x[None]), y[None])).item()
            for x, y in zip(pool.columns["inputs"], pool.columns["targets"], strict=True)
        ]
        ranked = sorted(range(len(rises)), key=lambda i: -rises[i])[: min(4, candidates)]
        draw = trace.batch.draws["replay"]
        assert draw.slots.tolist() == pool.slots[ranked].tolist()
        assert torch.equal(trace.batch.inputs[draw.rows], pool.columns["inputs"][ranked])
        assert torch.equal(trace.batch.inputs[:4], batch.inputs)
        assert list(trace.batch.draws) == ["replay"]
        assert len(trace.estimate.outputs) == len(trace.batch) == 4 + len(ranked)
        chose += len(ranked) < len(rises)
    assert chose > 15 or candidates == 1


def test_mir_then_takes_the_step_of_er_on_those_rows() -> None:
    learner = Learner(model(), CONFIG, method="mir")
    for batch in stream(10):
        twin = copy.deepcopy(learner.model)
        trace = learner.learn_batch(batch)
        loss = F.cross_entropy(twin(trace.batch.inputs), trace.batch.targets)
        torch.testing.assert_close(trace.estimate.loss, loss.detach())
        grads = torch.autograd.grad(loss, list(twin.parameters()))
        for now, was, grad in zip(learner.model.parameters(), twin.parameters(), grads, strict=True):
            torch.testing.assert_close(now, was - 0.1 * grad, rtol=1e-5, atol=1e-6)
    assert learner.stats.replayed == 9 * 4


def test_mir_looks_ahead_without_moving_running_statistics() -> None:
    """The statistics move once a step, with the rows the step is over."""
    norm = nn.BatchNorm1d(3)
    learner = Learner(nn.Sequential(norm, nn.Dropout(0.5), nn.Linear(3, 6)), CONFIG, method="mir")
    for batch in stream(5):
        mean, count = norm.running_mean.clone(), int(norm.num_batches_tracked)
        trace = learner.learn_batch(batch)
        torch.testing.assert_close(norm.running_mean, 0.9 * mean + 0.1 * trace.batch.inputs.mean(0))
        assert norm.num_batches_tracked == count + 1
        assert all(part.training for part in learner.model.modules())


def test_chosen_rows_keep_what_belongs_to_them() -> None:
    kept = {"logits": torch.arange(6.0).view(3, 2)}
    draws = {"many": Draw(slice(2, 5), torch.tensor([4, 5, 6]), kept)}
    joined = Batch(torch.arange(5.0), torch.arange(5), torch.arange(5) + 1.0, None, draws)
    few = chosen(joined, "few", "many", torch.tensor([2, 0]))
    assert few.targets.tolist() == [0, 1, 4, 2]
    assert few.weights is not None
    assert few.weights.tolist() == [1, 2, 5, 3]
    assert few.draws["few"].slots.tolist() == [6, 4]
    assert few.draws["few"].kept["logits"].tolist() == [[4, 5], [0, 1]]
