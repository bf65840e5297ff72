"""Scores that take a look of their own: what they are, that looking changes nothing, what is drawn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.methods.shared.per_row import norms
from tenuto.randomness import torch_draws
from tenuto.scores import MASKS, dropout_entropy
from tests.contract.walks import generators, normed, rows


def taught(model: nn.Module | None, **settings: Any) -> Learner:
    config = OnlineLearnerConfig(learning_rate=0.05, hidden=(8,), **settings)
    learner = Learner(model, config)
    for step in range(12):
        learner.learn_batch(rows("abcde", seed=step))
    return learner


def convolved() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(6, 5)
        )


@pytest.mark.parametrize("model", [None, normed, convolved])
def test_a_norm_is_that_of_the_rows_own_gradient(model: Any) -> None:
    learner = taught(model() if model else None)
    batch = rows("abc", seed=50)
    targets = learner.task.encode(batch.targets)
    assert targets is not None
    found = norms(learner._objective, learner.body.params, Batch(learner.body.read(batch.inputs), targets))
    learner.model.eval()
    for row in range(3):
        outputs = learner.model(learner.body.read(batch.inputs[row : row + 1]))
        loss = learner.task.losses(outputs, targets[row : row + 1]).sum()
        grads = torch.autograd.grad(loss, list(learner.body.params.values()), materialize_grads=True)
        expected = torch.cat([grad.flatten() for grad in grads]).norm()
        assert found[row].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)


def test_an_entropy_is_of_the_mean_answer_over_masks_and_nothing_changes() -> None:
    learner = taught(normed())
    inputs = learner.body.read(rows("abcde", seed=50).inputs)
    net = learner.model
    before, state = generators(), learner.digest()
    modes = [module.training for module in net.modules()]
    found = dropout_entropy(learner._objective, learner.body, inputs, step=4)
    assert (generators(), learner.digest()) == (before, state)
    assert [module.training for module in net.modules()] == modes
    net.eval()
    for module in net.modules():
        module.train(isinstance(module, nn.Dropout)) if not list(module.children()) else None
    with torch_draws(0, "dropout entropy", 4), torch.no_grad():
        mean = sum((net(inputs).softmax(1) for _ in range(MASKS)), torch.zeros(())) / MASKS
    expected = -(mean * mean.clamp_min(1e-12).log()).sum(1)
    assert torch.allclose(found, expected, atol=1e-5)
    assert len(set(found.tolist())) == 5


def test_without_dropout_it_is_the_entropy_of_the_answer() -> None:
    learner = taught(None)
    inputs = rows("abc", seed=50).inputs
    p = learner.predict_proba(inputs)
    found = dropout_entropy(learner._objective, learner.body, learner.body.read(inputs), step=0)
    assert torch.allclose(found, torch.special.entr(p).sum(1), atol=1e-5)


def test_memory_is_told_the_scores_of_replayed_rows() -> None:
    learner = taught(None, sampling="gradient_norm", insertion="append", memory_size=10)
    assert learner.memory is not None
    held = learner.memory.table.get(torch.arange(10))
    found = norms(
        learner._objective, learner.body.params, Batch(learner.body.read(held["inputs"]), held["targets"])
    )
    drawn = learner.memory.sampling.state()["priorities"]
    assert learner.stats.replayed > 20
    assert torch.corrcoef(torch.stack([drawn.double(), found.double()]))[0, 1] > 0.5


def test_every_domain_is_replayed_alike() -> None:
    learner = Learner(config=OnlineLearnerConfig(sampling="by_domain", memory_size=60))
    for step in range(40):
        domain = "rare" if step % 20 == 0 else "common"
        learner.learn_batch(Batch(torch.randn(5, 3), [0, 1, 0, 1, 0], domains=[domain] * 5))
    assert learner.memory is not None
    rare = set(learner.memory.beside.slots("domain", ["rare"]))
    assert 0 < len(rare) < 20
    drawn = [learner.memory.sample(20, step, "replay") for step in range(50)]
    share = sum(slot in rare for draw in drawn if draw for slot in draw.slots.tolist()) / 1000
    assert abs(share - 0.5) < 0.08
