"""Each method's loss and gradient against its paper's formula, written out by hand on the same rows."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto import Batch, Learner, OnlineLearnerConfig, Trace, methods
from tenuto.protocols import Oracle, View
from tenuto.randomness import permutation
from tenuto.types import State, Update

CONFIG = OnlineLearnerConfig(learning_rate=0.1, memory_size=20, hidden=(6,), batch_size=4)


class Recorder:
    """A rule that changes nothing and keeps the trace that a step hands to its parts, gradients and all."""

    trace: Trace

    def project(self, update: Update, oracle: Oracle) -> Update:
        """The same update."""
        return update

    def observe(self, trace: Trace) -> None:
        """Keep the trace."""
        self.trace = trace

    def consolidate(self, view: View) -> None:
        """Nothing to close."""

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


def recorded(method: str, options: dict[str, Any], **settings: Any) -> tuple[Learner, Recorder]:
    """A learner of a method, and what records its steps."""
    recorder = Recorder()
    recipe = replace(methods.load(method, options), rules=(recorder,))
    return Learner(settings.pop("model", None), replace(CONFIG, **settings), method=recipe), recorder


def model(outputs: int = 6) -> nn.Module:
    """A model without state of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, outputs))


def stream(steps: int, *, classes: int = 6, weighted: bool = False, seed: int = 0) -> list[Batch]:
    """Batches of four rows; the classes come one after another."""
    rng = np.random.default_rng(seed)
    batches = []
    for step in range(steps):
        newest = 2 + step * (classes - 2) // max(1, steps - 1)
        weights = torch.from_numpy(rng.uniform(0.5, 2, 4)).float() if weighted else None
        inputs = torch.from_numpy(rng.normal(size=(4, 3))).float()
        batches.append(Batch(inputs, rng.integers(0, newest, 4).tolist(), weights))
    return batches


def supervised(outputs: Tensor, batch: Batch, rows: slice) -> Tensor:
    """The weighted mean cross-entropy of some rows."""
    losses = F.cross_entropy(outputs[rows], batch.targets[rows], reduction="none")
    return (losses if batch.weights is None else losses * batch.weights[rows]).mean()


def matched(outputs: Tensor, trace: Trace, stored: dict[int, Tensor]) -> Tensor:
    """The mean over rows and columns of (z - z_stored)^2; a column unknown then counts as the row's least."""
    draw = trace.batch.draws["logits"]
    total, columns = torch.zeros(()), 0
    for row, slot in zip(range(draw.rows.start, draw.rows.stop), draw.slots.tolist(), strict=True):
        then = stored[slot]
        weight = 1.0 if trace.batch.weights is None else trace.batch.weights[row]
        target = torch.full((outputs.shape[1],), float(then.min()))
        target[: len(then)] = then
        total = total + weight * (outputs[row] - target).square().sum()
        columns += len(target)
    return total / columns


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("method", ["naive", "er", "der", "derpp"])
def test_loss_gradient_and_step(method: str, weighted: bool) -> None:
    options: dict[str, Any] = {"der": {"alpha": 0.3}, "derpp": {"alpha": 0.3, "beta": 0.7}}.get(method, {})
    learner, recorder = recorded(method, options, seed=3)
    stored: dict[int, Tensor] = {}
    replayed = 0
    for batch in stream(25, weighted=weighted):
        twin = copy.deepcopy(learner.model) if learner.examples else None
        before = dict(stored)
        trace = learner.learn_batch(batch)
        fresh = slice(0, len(batch))
        for row, slot in enumerate(trace.slots or ()):
            if slot >= 0:
                stored[slot] = trace.estimate.outputs[row].clone()
        if twin is None or sum(p.shape[0] for p in twin.parameters()) != sum(
            p.shape[0] for p in learner.model.parameters()
        ):
            continue
        outputs = twin(trace.batch.inputs)
        loss = supervised(outputs, trace.batch, fresh if method in ("der", "derpp") else slice(None))
        if method == "derpp":
            loss = loss + 0.7 * supervised(outputs, trace.batch, trace.batch.draws["labels"].rows)
        if method in ("der", "derpp"):
            loss = loss + 0.3 * matched(outputs, trace, before)
        torch.testing.assert_close(trace.estimate.loss, loss.detach(), rtol=1e-5, atol=1e-6)
        grads = torch.autograd.grad(loss, list(twin.parameters()))
        after = dict(learner.model.named_parameters())
        for (name, was), grad in zip(twin.named_parameters(), grads, strict=True):
            torch.testing.assert_close(recorder.trace.estimate.grads[name], grad, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(after[name], was - 0.1 * grad, rtol=1e-5, atol=1e-6)
        replayed += trace.batch.replayed
    assert (replayed > 50) == (method != "naive")


def test_the_draws_of_derpp_are_two() -> None:
    learner = Learner(model(), CONFIG, method="derpp")
    traces = [learner.learn_batch(batch) for batch in stream(40)][10:]
    slots = [[trace.batch.draws[name].slots.tolist() for trace in traces] for name in ("labels", "logits")]
    assert all(len(trace.batch) == 12 for trace in traces)
    assert sum(a == b for a, b in zip(*slots, strict=True)) <= 1


def test_stored_outputs_keep_the_width_they_had() -> None:
    """Memory knows which of a row's columns were there when it was stored."""
    learner = Learner(config=CONFIG, method="der")
    assert learner.memory is not None
    for batch in stream(12):
        learner.learn_batch(batch)
    columns = learner.memory.table.columns
    widths = columns["width"][: len(learner.memory)]
    assert len(widths.unique()) > 2
    stored = columns["logits"].shape[1]
    assert stored >= 5
    trace = learner.learn_batch(stream(1, seed=9)[0])
    draw = trace.batch.draws["logits"]
    assert int(draw.kept["width"].min()) < stored
    narrow = draw.kept["width"].argmin()
    assert draw.kept["logits"][narrow, draw.kept["width"][narrow] :].eq(0).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_lwf_distils_from_the_model_before_this_context(weighted: bool) -> None:
    learner, recorder = recorded("lwf", {"weight": 0.8, "temperature": 2.0}, model=model(), seed=1)
    for batch in stream(5):
        assert learner.learn_batch(batch).batch.replayed == 0
    learner.consolidate()
    teacher = copy.deepcopy(learner.model).eval()
    for batch in stream(10, weighted=weighted, seed=4):
        twin = copy.deepcopy(learner.model)
        trace = learner.learn_batch(batch)
        outputs, known = twin(batch.inputs), teacher(batch.inputs).detach()
        p, q = (known / 2).softmax(1), (outputs / 2).softmax(1)
        divergence = (p * (p.log() - q.log())).sum(1)
        if batch.weights is not None:
            divergence = divergence * batch.weights
        loss = supervised(outputs, trace.batch, slice(None)) + 0.8 * 4 * divergence.mean()
        torch.testing.assert_close(trace.estimate.loss, loss.detach(), rtol=1e-5, atol=1e-6)
        found = recorder.trace.estimate.grads
        for name, grad in zip(found, torch.autograd.grad(loss, list(twin.parameters())), strict=True):
            torch.testing.assert_close(found[name], grad, rtol=1e-4, atol=1e-6)


def test_lwf_has_no_teacher_in_its_first_context_and_the_newest_later() -> None:
    learner = Learner(config=CONFIG, method="lwf")
    first = stream(8)
    for batch in first:
        trace = learner.learn_batch(batch)
    expected = F.cross_entropy(trace.estimate.outputs, trace.batch.targets)
    torch.testing.assert_close(trace.estimate.loss, expected)
    learner.consolidate()
    trace = learner.learn_batch(first[0])
    torch.testing.assert_close(
        trace.estimate.loss,
        F.cross_entropy(trace.estimate.outputs, trace.batch.targets),
        rtol=1e-3,
        atol=1e-3,
    )


def test_lwf_under_regression_stays_close_in_squares() -> None:
    learner = Learner(model(2), replace(CONFIG, task="regression"), method="lwf", options={"weight": 0.5})
    rng = np.random.default_rng(0)
    batches = [
        Batch(torch.from_numpy(rng.normal(size=(4, 3))).float(), rng.normal(size=(4, 2))) for _ in range(9)
    ]
    for batch in batches[:5]:
        learner.learn_batch(batch)
    learner.consolidate()
    teacher = copy.deepcopy(learner.model)
    for batch in batches[5:]:
        outputs, known = learner.model(batch.inputs), teacher(batch.inputs)
        targets = torch.from_numpy(batch.targets).float()
        loss = 0.5 * (outputs - targets).square().sum(1).mean()
        loss = loss + 0.5 * 0.5 * (outputs - known).square().sum(1).mean()
        torch.testing.assert_close(learner.learn_batch(batch).estimate.loss, loss.detach())


@pytest.mark.parametrize("epochs", [1, 3])
def test_joint_rehearses_every_row_once_per_epoch(epochs: int) -> None:
    learner = Learner(model(), replace(CONFIG, seed=2), method="joint", options={"epochs": epochs})
    batches = stream(7)
    for batch in batches:
        learner.learn_batch(batch)
    inputs = torch.cat([batch.inputs for batch in batches])
    targets = torch.tensor([target for batch in batches for target in batch.targets])
    twin = copy.deepcopy(learner.model)
    hand = torch.optim.SGD(twin.parameters(), lr=0.1)
    updates = 0
    for epoch in range(epochs):
        order = torch.from_numpy(permutation(2, f"rehearse:0:{epoch}", 28))
        assert sorted(order.tolist()) == list(range(28))
        for rows in order.tensor_split(3):
            hand.zero_grad()
            F.cross_entropy(twin(inputs[rows]), targets[rows]).backward()
            hand.step()
            updates += 1
    report = learner.consolidate()
    assert report.updates == updates == 3 * epochs
    for mine, other in zip(learner.model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_joint_keeps_and_replays_everything() -> None:
    learner = Learner(model(), replace(CONFIG, memory_size=5), method="joint")
    batches = stream(30)
    drawn: set[int] = set()
    for batch in batches:
        trace = learner.learn_batch(batch)
        drawn |= {slot for draw in trace.batch.draws.values() for slot in draw.slots.tolist()}
    assert learner.memory is not None
    rows = learner.memory.table.get(torch.arange(len(learner.memory)))
    assert torch.equal(rows["inputs"], torch.cat([batch.inputs for batch in batches]))
    assert len(drawn) > 60


@pytest.mark.parametrize(("ratio", "rows"), [(0.5, 4), (0.3, 3), (2 / 3, 2), (0.05, 1), (0.95, 1), (0.0, 4)])
def test_fractions_of_a_replay_ratio_come_due(ratio: float, rows: int) -> None:
    learner = Learner(model(), replace(CONFIG, replay_ratio=ratio, memory_size=200))
    share = rows * ratio / (1 - ratio)
    traces = [learner.learn_batch(Batch(b.inputs[:rows], b.targets[:rows])) for b in stream(80)]
    replayed = [trace.batch.replayed for trace in traces]
    assert learner.stats.replayed == sum(replayed)
    assert all(abs(count - share) < 1 for count in replayed[25:])
    assert abs(sum(replayed[25:]) - 55 * share) <= 1
