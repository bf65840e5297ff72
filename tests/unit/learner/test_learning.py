"""What a learner does with rows: it learns them, counts them, remembers them, and answers."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tenuto import Batch, Learner, OnlineExample, OnlineLearnerConfig, methods, trees
from tenuto.errors import ConfigError, ExampleError, NothingLearned
from tenuto.protocols import OnlineLearner

CONFIG = OnlineLearnerConfig(learning_rate=0.05, hidden=(16,), memory_size=60, batch_size=4)


def blobs(classes: str, rows: int = 12, seed: int = 0) -> Batch:
    """Rows around a corner of a cube for each class, in turn."""
    rng = np.random.default_rng([seed, *map(ord, classes)])
    labels = [classes[i % len(classes)] for i in range(rows)]
    corners = np.array([[(ord(c) >> bit) & 1 for bit in range(3)] for c in labels]) * 2.0 - 1
    return Batch(torch.from_numpy(corners + 0.2 * rng.normal(size=(rows, 3))).float(), labels)


def accuracy(learner: Learner, classes: str) -> float:
    """The share of fresh rows that are answered right."""
    batch = blobs(classes, 80, seed=77)
    return float(
        np.mean([a == b for a, b in zip(learner.predict(batch.inputs).labels, batch.targets, strict=True)])
    )


def test_it_is_an_online_learner() -> None:
    assert isinstance(Learner(nn.Linear(3, 2)), OnlineLearner)


def test_one_row_is_a_batch_of_one() -> None:
    one, many = Learner(config=CONFIG), Learner(config=CONFIG)
    for row in range(6):
        batch = blobs("ab", 6)
        one.learn_one(
            OnlineExample(input=batch.inputs[row].tolist(), target=batch.targets[row], weight=2.0, domain="x")
        )
        many.learn_batch(
            Batch(batch.inputs[row : row + 1], batch.targets[row : row + 1], torch.tensor([2.0]), ["x"])
        )
    assert one.digest() == many.digest()


@pytest.mark.parametrize("method", methods.known(plain=True))
def test_every_method_learns_what_it_sees(method: str) -> None:
    learner = Learner(config=CONFIG, method=method)
    for seed in range(120):
        learner.learn_batch(blobs("abc", seed=seed))
    if learner.recipe.restart:
        learner.consolidate()
    assert accuracy(learner, "abc") > 0.95


def retained(method: str, **settings: Any) -> float:
    """The accuracy on two classes after four others were learned, two by two."""
    learner = Learner(config=replace(CONFIG, **settings), method=method)
    for classes in ("ab", "cd", "ef"):
        for seed in range(60):
            learner.learn_batch(blobs(classes, 4, seed=seed))
        learner.consolidate()
    return accuracy(learner, "ab")


@pytest.mark.parametrize("method", ["er", "der", "derpp", "joint"])
def test_replay_keeps_what_fine_tuning_forgets(method: str) -> None:
    assert retained("naive") < 0.3
    assert retained(method, head="fixed", classes=tuple("abcdef")) > 0.9


@pytest.mark.parametrize("method", ["er", "joint"])
def test_replay_of_labels_keeps_it_under_a_head_that_grows(method: str) -> None:
    assert retained(method) > 0.9


def test_nothing_is_answered_before_the_first_row() -> None:
    learner = Learner()
    for ask in (
        lambda: learner.predict([[0.0]]),
        lambda: learner.predict_proba([[0.0]]),
        lambda: learner.outputs([[0.0]]),
        lambda: learner.model,
        learner.consolidate,
    ):
        with pytest.raises(NothingLearned, match="learn a row first"):
            ask()
    assert learner.stats.examples == 0
    assert learner.stats.running_loss is None
    assert learner.shape is None


def test_counts() -> None:
    learner = Learner(config=replace(CONFIG, replay_ratio=0.5))
    learner.learn_batch(Batch(*astuple(blobs("ab", 4)), domains=["x", "y", None, "x"]))
    learner.learn_batch(Batch(*astuple(blobs("ab", 6, seed=1)), domains=None))
    learner.consolidate()
    stats = learner.stats
    assert (stats.examples, stats.steps, stats.replayed, stats.refused) == (10, 2, 4, 0)
    assert (stats.consolidations, stats.remembered) == (1, 10)
    assert stats.domains == {"x": 2, "y": 1}
    assert learner.shape == (3,)


def astuple(batch: Batch) -> tuple[Tensor, Any]:
    """Inputs and targets."""
    return batch.inputs, batch.targets


def test_the_running_loss_is_an_exponential_mean() -> None:
    learner = Learner(config=CONFIG)
    mean: float | None = None
    for seed in range(600):
        loss = learner.learn_batch(blobs("ab", 4, seed=seed)).loss
        mean = loss if mean is None else mean + 0.01 * (loss - mean)
    assert learner.stats.running_loss == pytest.approx(mean, rel=1e-6)


def test_a_trace_tells_what_the_step_did() -> None:
    learner = Learner(config=replace(CONFIG, memory_size=5))
    learner.learn_batch(blobs("ab", 4))
    trace = learner.learn_batch(blobs("ab", 4, seed=1))
    assert (trace.step, len(trace.batch), trace.batch.fresh, trace.batch.replayed) == (1, 8, 4, 4)
    assert trace.verdict.keeps
    assert trace.slots is not None
    assert set(trace.slots) <= {-1, 0, 1, 2, 3, 4}
    assert 4 in trace.slots
    draw = trace.batch.draws["replay"]
    assert draw.rows == slice(4, 8)
    assert sorted(draw.slots.tolist()) == [0, 1, 2, 3]
    assert trace.estimate.outputs.shape == (8, 2)
    assert trace.loss == pytest.approx(float(trace.estimate.loss))


def test_passes_are_updates_and_memory_moves_once() -> None:
    learner = Learner(config=replace(CONFIG, passes=3))
    learner.learn_batch(blobs("ab", 4))
    learner.learn_batch(blobs("ab", 4, seed=1))
    assert (learner.stats.steps, learner.stats.examples, learner.stats.remembered) == (6, 8, 8)
    assert learner.stats.replayed == 12


def test_a_pass_is_a_step_by_hand() -> None:
    learner, twice = (Learner(config=replace(CONFIG, passes=p), method="naive") for p in (1, 2))
    batch = blobs("ab", 4)
    for _ in range(4):
        learner.learn_batch(batch)
    for _ in range(2):
        twice.learn_batch(batch)
    for mine, other in zip(learner.model.parameters(), twice.model.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_later_pass_that_is_refused_ends_the_passes_and_the_rows_count() -> None:
    """The first pass lets the second one's loss overflow: its update is kept, the second is not."""
    model = nn.Linear(3, 1, bias=False)
    config = replace(CONFIG, task="regression", learning_rate=10.0, passes=5)
    learner = Learner(model, config)
    trace = learner.learn_batch(Batch(torch.full((2, 3), 1e8), [1.0, 1.0]))
    assert trace.verdict.keeps
    stats = learner.stats
    assert (stats.steps, stats.examples, stats.refused, stats.remembered) == (1, 2, 0, 2)
    assert trees.finite(dict(model.named_parameters()))


def test_settings_that_may_change_change_from_the_next_step_on() -> None:
    learner = Learner(config=CONFIG, method="naive")
    learner.learn_batch(blobs("ab", 4))
    learner.configure({"learning_rate": 0.0, "passes": 2})
    before = trees.digest(dict(learner.model.named_parameters()))
    learner.learn_batch(blobs("ab", 4, seed=1))
    assert trees.digest(dict(learner.model.named_parameters())) == before
    assert learner.steps == 3
    with pytest.raises(ConfigError, match="memory_size cannot change in a living learner; learning_rate"):
        learner.configure({"memory_size": 5})
    with pytest.raises(ConfigError, match="passes is 0"):
        learner.configure({"passes": 0})


def test_the_rate_of_a_wrapped_optimizer_changes_too_and_is_resumed() -> None:
    def make() -> Learner:
        return Learner(config=CONFIG, method="naive", optimizer=lambda ps: torch.optim.SGD(ps, lr=0.3))

    learner = make()
    learner.learn_batch(blobs("ab", 4))
    learner.configure({"passes": 2})
    assert learner.optimizer.learning_rate == 0.3
    learner.configure({"learning_rate": 0.0})
    before = trees.digest(dict(learner.model.named_parameters()))
    learner.learn_batch(blobs("ab", 4, seed=1))
    assert trees.digest(dict(learner.model.named_parameters())) == before
    learner.configure({"learning_rate": CONFIG.learning_rate})
    resumed = make()
    resumed.load_state(learner.save_state())
    for each in (learner, resumed):
        each.learn_batch(blobs("ab", 4, seed=2))
    assert learner.digest() == resumed.digest()


def test_an_error_of_the_model_leaves_nothing_behind() -> None:
    class Fussy(nn.Module):
        """It counts its rows, and fails after counting."""

        seen: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))
            self.head = nn.Linear(3, 2)

        def forward(self, rows: Tensor) -> Tensor:
            """Outputs, where the first feature is below 5."""
            self.seen += len(rows)
            if bool((rows[:, 0] > 5).any()):
                raise ArithmeticError
            outputs: Tensor = self.head(rows)
            return outputs

    learner = Learner(Fussy(), CONFIG)
    learner.learn_batch(blobs("ab", 4))
    before = learner.digest()
    with pytest.raises(ArithmeticError):
        learner.learn_batch(Batch(torch.full((2, 3), 9.0), ["new", "newer"]))
    assert learner.digest() == before


def test_a_row_asked_alone_or_beside_others_has_one_answer() -> None:
    learner = Learner(config=CONFIG)
    for seed in range(20):
        learner.learn_batch(blobs("abc", seed=seed))
    rows = blobs("abc", 6, seed=50).inputs
    many = learner.predict(rows)
    assert many.outputs.shape == (6, 3)
    assert many.classes == ("a", "b", "c")
    for i in range(6):
        for form in (rows[i], rows[i].tolist(), rows[i].numpy(), rows[i : i + 1], [rows[i].numpy()]):
            alone = learner.predict(form)
            assert alone.labels == [many.labels[i]]
            torch.testing.assert_close(alone.outputs, many.outputs[i : i + 1])
    assert learner.predict(rows[:0]).labels == []
    probabilities = learner.predict_proba(rows)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(6))
    assert [many.classes[i] for i in probabilities.argmax(1).tolist()] == many.labels
    with pytest.raises(ExampleError, match=r"rows here are of shape \(3,\); got \(4,\)"):
        learner.predict(torch.zeros(2, 4))


@pytest.mark.parametrize("width", [1, 2])
def test_regression(width: int) -> None:
    rng = np.random.default_rng(0)
    slope = rng.normal(size=(3, width))
    learner = Learner(config=replace(CONFIG, task="regression", learning_rate=0.02))
    for _ in range(300):
        inputs = rng.normal(size=(8, 3))
        targets = inputs @ slope
        learner.learn_batch(Batch(torch.from_numpy(inputs).float(), targets[:, 0] if width == 1 else targets))
    inputs = rng.normal(size=(50, 3))
    answer = learner.predict(torch.from_numpy(inputs).float())
    assert answer.probabilities is None
    found = np.array(answer.labels).reshape(50, width)
    assert np.square(found - inputs @ slope).mean() < 0.05 * np.square(inputs @ slope).mean()
    with pytest.raises(ConfigError, match="regression has no class probabilities"):
        learner.predict_proba(inputs[0])
    with pytest.raises(ExampleError, match=f"targets hold 5 numbers, the model answers with {width}"):
        learner.learn_batch(Batch(torch.zeros(2, 3), torch.zeros(2, 5)))


def test_bytes_are_learned_as_fractions_and_kept_as_bytes() -> None:
    pixels = torch.randint(0, 256, (40, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = (pixels[:, 0, 0] > 127).long()
    learner, fractions = Learner(config=CONFIG), Learner(config=CONFIG)
    for start in range(0, 40, 4):
        rows = slice(start, start + 4)
        learner.learn_batch(Batch(pixels[rows], labels[rows]))
        fractions.learn_batch(Batch(pixels[rows].float() / 255, labels[rows]))
    for mine, other in zip(learner.model.parameters(), fractions.model.parameters(), strict=True):
        torch.testing.assert_close(mine, other)
    assert learner.memory is not None
    assert learner.memory.table.columns["inputs"].dtype == torch.uint8
    torch.testing.assert_close(learner.outputs(pixels), fractions.outputs(pixels.float() / 255))
    before = learner.digest()
    with pytest.raises(
        ExampleError, match=r"rows here are kept as torch\.uint8, this batch's are torch\.float32"
    ):
        learner.learn_batch(Batch(pixels[:2].float(), labels[:2]))
    assert learner.digest() == before


def test_whole_numbers_first_and_fractions_later() -> None:
    """A stream of JSON says 1 and 0.5: the first row must not settle that all rows are whole."""
    learner = Learner(config=CONFIG)
    learner.learn_one(OnlineExample(input=[1, 0], target="a"))
    learner.learn_one(OnlineExample(input=[0.5, 0.25], target="b"))
    learner.learn_one(OnlineExample(input=np.array([0.5, 1.0]), target="b"))
    learner.learn_one(OnlineExample(input=np.array([1, 2], np.uint8), target="b"))
    assert learner.memory is not None
    assert learner.memory.table.columns["inputs"][:4].tolist() == [
        [1.0, 0.0],
        [0.5, 0.25],
        [0.5, 1.0],
        pytest.approx([1 / 255, 2 / 255]),
    ]


def test_rows_handed_in_are_not_changed_and_may_be_changed_after() -> None:
    learner, other = Learner(config=CONFIG), Learner(config=CONFIG)
    for seed in range(6):
        batch = blobs("ab", 4, seed=seed)
        before = copy.deepcopy(batch.inputs)
        learner.learn_batch(batch)
        assert torch.equal(batch.inputs, before)
        batch.inputs.fill_(7.0)
        other.learn_batch(Batch(before, batch.targets))
    assert learner.digest() == other.digest()


def test_a_learner_takes_a_state_of_another_shape_of_rows() -> None:
    """A model that tenuto makes follows the state; one that was given must fit it."""
    wide, narrow = Learner(config=CONFIG), Learner(config=CONFIG)
    wide.learn_batch(blobs("abc", 6))
    narrow.learn_batch(Batch(torch.zeros(2, 1), ["x", "y"]))
    narrow.load_state(wide.save_state())
    assert narrow.digest() == wide.digest()
    assert narrow.shape == (3,)
    assert narrow.predict(torch.zeros(2, 3)).classes == ("a", "b", "c")
