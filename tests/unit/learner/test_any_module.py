"""Any module as it is: convolutions, norms, embeddings, shared and frozen weights, heads of every kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto import Batch, Learner, OnlineLearnerConfig, methods, trees
from tenuto.errors import ConfigError, ExampleError

CONFIG = OnlineLearnerConfig(learning_rate=0.03, momentum=0.9, memory_size=40, batch_size=8)


class Recurrent(nn.Module):
    """A GRU over the rows of an image."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 12, batch_first=True)
        self.out = nn.Linear(12, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs from the last hidden state."""
        outputs: Tensor = self.out(self.gru(rows.flatten(1).view(-1, 4, 4))[0][:, -1])
        return outputs


class Shared(nn.Module):
    """One hidden layer used twice, and drawn through a dropout that is no module."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.second = nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.out = nn.Linear(16, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs, noisy in training."""
        hidden = F.relu(self.second(F.relu(self.first(rows.flatten(1)))))
        outputs: Tensor = self.out(F.dropout(hidden, 0.1, training=self.training))
        return outputs


def conv(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(24, outputs),
    )


def layered(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.LayerNorm(12), nn.GELU(), nn.Linear(12, outputs))


def frozen(outputs: int) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, outputs))
    net[1].requires_grad_(False)
    return net


def bare(outputs: int) -> nn.Module:
    return nn.Linear(16, outputs)


def weightless(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, outputs, 4), nn.Flatten())


def double(outputs: int) -> nn.Module:
    return layered(outputs).double()


def embedding(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Embedding(10, 6), nn.Flatten(), nn.Linear(96, outputs, bias=False))


MODULES: dict[str, Callable[[int], nn.Module]] = {
    make.__name__: make
    for make in (conv, layered, double, frozen, bare, weightless, embedding, Shared, Recurrent)
}


def built(name: str, outputs: int = 3) -> nn.Module:
    """A module with the same weights at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return MODULES[name](outputs)


def images(name: str, rows: int = 8, seed: int = 0) -> Batch:
    """4 x 4 images whose class is the quadrant that is bright, as the module reads them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    pixels = rng.uniform(0, 0.4, size=(rows, 1, 4, 4))
    for i, label in enumerate(labels):
        pixels[i, 0, 2 * (label // 2) : 2 * (label // 2) + 2, 2 * (label % 2) : 2 * (label % 2) + 2] += 0.6
    if name == "embedding":
        return Batch(torch.from_numpy((pixels * 9.99).astype(np.int64)).flatten(1), labels)
    inputs = torch.from_numpy(pixels).float()
    return Batch(inputs.flatten(1) if name == "bare" else inputs, labels)


@pytest.mark.parametrize("name", MODULES)
def test_it_learns_in_place(name: str) -> None:
    module = built(name)
    learner = Learner(module, CONFIG)
    for seed in range(150):
        learner.learn_batch(images(name, seed=seed))
    assert learner.model is module
    test = images(name, 200, seed=999)
    answers = learner.predict(test.inputs)
    assert np.mean(np.array(answers.labels) == test.targets) > 0.9
    assert answers.classes == (0, 1, 2)


UNFIT = {("weightless", "slda"), ("embedding", "slda"), ("weightless", "scr")}
"""Methods that write the output layer need one: slda's must have a bias."""


@pytest.mark.parametrize(("name", "method"), sorted(UNFIT))
def test_a_method_that_writes_the_head_refuses_a_model_without_one(name: str, method: str) -> None:
    learner = Learner(built(name), CONFIG, method=method)
    before = learner.digest()
    with pytest.raises(ConfigError, match="output layer"):
        learner.learn_batch(images(name))
    assert learner.digest() == before


@pytest.mark.parametrize(
    ("name", "method"),
    [
        (name, method)
        for name in MODULES
        for method in methods.known(plain=True)
        if (name, method) not in UNFIT
    ],
)
def test_it_resumes_bit_for_bit_under_every_method(name: str, method: str) -> None:
    whole = Learner(built(name), CONFIG, method=method)
    for seed in range(4):
        whole.learn_batch(images(name, seed=seed))
    whole.consolidate()
    resumed = Learner(built(name), CONFIG, method=method)
    resumed.load_state(whole.save_state())
    for learner in (whole, resumed):
        for seed in range(4, 8):
            learner.learn_batch(images(name, seed=seed))
        learner.consolidate()
    assert whole.digest() == resumed.digest()


@pytest.mark.parametrize("name", [name for name in MODULES if name != "weightless"])
def test_its_head_grows(name: str) -> None:
    learner = Learner(built(name), CONFIG)
    learner.learn_batch(images(name))
    batch = images(name, seed=1)
    learner.learn_batch(Batch(batch.inputs, [9, *batch.targets[1:].tolist()]))
    assert learner.predict(batch.inputs).classes == (0, 1, 2, 9)
    names = trees.detach(dict(learner.model.named_parameters()))
    learner.learn_batch(Batch(batch.inputs, [9] * len(batch)))
    moved = {n for n, p in learner.model.named_parameters() if not torch.equal(p, names[n])}
    assert moved == {n for n, p in learner.model.named_parameters() if p.requires_grad}


def test_a_head_that_cannot_grow_says_so_and_nothing_changed() -> None:
    learner = Learner(built("weightless"), CONFIG)
    learner.learn_batch(images("weightless"))
    before = learner.digest()
    batch = images("weightless", seed=1)
    with pytest.raises(
        ExampleError, match="label 9 has no column: the head is fixed at 3 outputs; give the model"
    ):
        learner.learn_batch(Batch(batch.inputs, [9] * len(batch)))
    assert learner.digest() == before


def test_frozen_weights_stay_and_shared_weights_stay_shared() -> None:
    module = built("frozen")
    assert isinstance(module, nn.Sequential)
    before = module[1].weight.clone()
    learner = Learner(module, CONFIG)
    for seed in range(5):
        learner.learn_batch(images("frozen", seed=seed))
    assert torch.equal(module[1].weight, before)
    twice = built("Shared")
    assert isinstance(twice, Shared)
    learner = Learner(twice, CONFIG)
    for seed in range(5):
        learner.learn_batch(images("Shared", seed=seed))
    learner.load_state(learner.save_state())
    assert twice.first.weight is twice.second.weight


@pytest.mark.parametrize("method", ["er", "lwf", "joint"])
def test_a_part_in_evaluation_mode_stays_in_it(method: str) -> None:
    module = built("conv")
    assert isinstance(module, nn.Sequential)
    module[1].eval()
    learner = Learner(module, CONFIG, method=method)
    for seed in range(4):
        learner.learn_batch(images("conv", seed=seed))
        learner.consolidate()
        learner.predict(images("conv").inputs)
    assert [part.training for part in module] == [True, False, True, True, True, True]
    assert module[1].num_batches_tracked == 0


def test_batch_statistics_move_once_a_step_and_not_in_answers() -> None:
    module = built("conv")
    assert isinstance(module, nn.Sequential)
    learner = Learner(module, CONFIG)
    for seed in range(3):
        learner.learn_batch(images("conv", seed=seed))
        learner.predict(images("conv").inputs)
    assert module[1].num_batches_tracked == 3
    with pytest.raises(ExampleError, match="BatchNorm"):
        learner.learn_batch(images("conv", 1))
    assert module[1].num_batches_tracked == 3


def test_rehearsal_never_leaves_a_single_row_to_batch_statistics() -> None:
    for rows in range(2, 36):
        learner = Learner(built("conv"), OnlineLearnerConfig(batch_size=2), method="joint")
        learner.learn_batch(images("conv", rows))
        assert learner.consolidate().updates >= 1


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        ([0, 2], (0, 1, 2)),
        ([np.int64(1), np.int64(0)], (0, 1, 2)),
        (["cat", "dog"], ("cat", "dog")),
        ([5, 0], (0, 1, 2, 5)),
        (["cat", "dog", "eel", "fly"], ("cat", "dog", "eel", "fly")),
        (torch.tensor([2, 1]), (0, 1, 2)),
    ],
)
def test_labels_claim_the_columns_that_a_model_has(
    targets: list[object], classes: tuple[object, ...]
) -> None:
    learner = Learner(bare(3), CONFIG)
    batch = images("bare", len(targets))
    assert learner.predict(batch.inputs).classes == (0, 1, 2)
    learner.learn_batch(Batch(batch.inputs, targets))
    assert learner.predict(batch.inputs).classes == classes
    assert learner.outputs(batch.inputs).shape[1] == max(3, len(classes))


def test_classes_name_the_columns_in_order() -> None:
    learner = Learner(bare(3), OnlineLearnerConfig(classes=("cat", "dog")))
    batch = images("bare", 2)
    learner.learn_batch(Batch(batch.inputs, ["dog", "eel"]))
    assert learner.predict(batch.inputs).classes == ("cat", "dog", "eel")
    with pytest.raises(ConfigError, match="classes lists 4 labels, but the model answers with 3 outputs"):
        Learner(bare(3), OnlineLearnerConfig(classes=(0, 1, 2, 3)))


def test_a_head_is_named_where_it_is_not_the_last_linear() -> None:
    class Backwards(nn.Module):
        """Its output layer is made first."""

        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(8, 2)
            self.hidden = nn.Linear(16, 8)

        def forward(self, rows: Tensor) -> Tensor:
            """Outputs of the layer made first."""
            outputs: Tensor = self.out(torch.relu(self.hidden(rows)))
            return outputs

    batch = images("bare")
    with pytest.raises(ConfigError, match="'hidden', its last Linear layer, has 8: name the output layer"):
        Learner(Backwards(), CONFIG).learn_batch(batch)
    learner = Learner(Backwards(), OnlineLearnerConfig(head_layer="out"))
    learner.learn_batch(batch)
    assert learner.predict(batch.inputs).outputs.shape == (8, 3)


def test_rows_that_the_model_cannot_read_are_refused_at_the_first() -> None:
    learner = Learner(built("conv"), CONFIG)
    before = learner.digest()
    with pytest.raises(ExampleError, match=r"the model cannot read rows of shape \(3, 2, 2\)"):
        learner.learn_batch(Batch(torch.zeros(4, 3, 2, 2), [7, 8, 9, 9]))
    assert learner.digest() == before
    learner.learn_batch(images("conv"))
    assert learner.shape == (1, 4, 4)


def test_words_are_refused_where_integers_are_embedded() -> None:
    learner = Learner(built("embedding"), CONFIG)
    learner.learn_batch(images("embedding"))
    before = learner.digest()
    with pytest.raises(ExampleError, match=r"kept as torch\.int64, this batch's are torch\.float32"):
        learner.learn_batch(Batch(torch.zeros(2, 16), [0, 1]))
    assert learner.digest() == before
