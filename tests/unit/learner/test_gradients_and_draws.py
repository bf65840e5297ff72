"""The step: what it hands back, what it leaves on the model, and when it seeds a forward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto import Batch, Learner, OnlineLearnerConfig, Recipe
from tenuto.models import MLP, Body, Standardize
from tenuto.models.body import _DETERMINISTIC
from tenuto.protocols import Oracle, View
from tenuto.trees import Tree
from tenuto.types import State, Trace, Update
from tests.contract.walks import CLASSES, FEATURES, WALK, go, maker, rows

ROWS, IMAGES, SEQUENCES = torch.rand(4, 6), torch.rand(4, 6, 5, 5), torch.rand(4, 6, 7)
LAYERS: dict[type[nn.Module], tuple[Callable[[], nn.Module], Tensor]] = {
    MLP: (lambda: MLP(6, (3,), 2), ROWS),
    Standardize: (lambda: Standardize(6), ROWS),
    nn.Sequential: (lambda: nn.Sequential(nn.Linear(6, 3), nn.ReLU()), ROWS),
    nn.Identity: (nn.Identity, ROWS),
    nn.Flatten: (nn.Flatten, IMAGES),
    nn.Linear: (lambda: nn.Linear(6, 3), ROWS),
    nn.Embedding: (lambda: nn.Embedding(5, 3), torch.tensor([[0, 4]])),
    nn.Conv1d: (lambda: nn.Conv1d(6, 3, 2), SEQUENCES),
    nn.Conv2d: (lambda: nn.Conv2d(6, 3, 2), IMAGES),
    nn.MaxPool1d: (lambda: nn.MaxPool1d(2), SEQUENCES),
    nn.MaxPool2d: (lambda: nn.MaxPool2d(2), IMAGES),
    nn.AvgPool2d: (lambda: nn.AvgPool2d(2), IMAGES),
    nn.AdaptiveAvgPool2d: (lambda: nn.AdaptiveAvgPool2d(2), IMAGES),
    nn.BatchNorm1d: (lambda: nn.BatchNorm1d(6), ROWS),
    nn.BatchNorm2d: (lambda: nn.BatchNorm2d(6), IMAGES),
    nn.LayerNorm: (lambda: nn.LayerNorm(6), ROWS),
    nn.GroupNorm: (lambda: nn.GroupNorm(2, 6), ROWS),
    nn.ReLU: (nn.ReLU, ROWS),
    nn.LeakyReLU: (nn.LeakyReLU, ROWS),
    nn.GELU: (nn.GELU, ROWS),
    nn.SiLU: (nn.SiLU, ROWS),
    nn.Tanh: (nn.Tanh, ROWS),
    nn.Sigmoid: (nn.Sigmoid, ROWS),
}


class Noisy(nn.Module):
    """Draws inside its forward, with no layer that would show it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(FEATURES, len(CLASSES))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of inputs of which half are dropped."""
        outputs: Tensor = self.head(F.dropout(inputs, 0.5, self.training))
        return outputs


@pytest.mark.parametrize("weight", [1.0, 3e38], ids=["kept", "refused"])
@pytest.mark.parametrize("method", ["naive", "er"])
def test_a_trace_holds_no_gradient(method: str, weight: float) -> None:
    learner = maker(method)(0)
    go(learner, WALK[:2])
    trace = learner.learn_batch(rows("ab", weights=torch.full((2,), weight)))
    assert trace.verdict.keeps == (weight == 1.0)
    assert trace.estimate.grads == {}
    assert trace.update.tree == {}
    assert not trace.estimate.outputs.requires_grad
    assert all(parameter.grad is None for parameter in learner.model.parameters())


def test_gradients_left_on_the_model_do_not_matter() -> None:
    def model() -> nn.Module:
        torch.manual_seed(0)
        return MLP(FEATURES, (8,), len(CLASSES))

    make = maker("er", head="fixed", model=model)
    clean, littered = make(0), make(0)
    for batch in WALK:
        go(clean, [batch])
        go(littered, [batch])
        littered.model(rows("ab").inputs).sum().backward()
    assert littered.digest() == clean.digest()


@pytest.mark.parametrize(
    "layer", sorted(_DETERMINISTIC, key=lambda layer: layer.__name__), ids=lambda layer: layer.__name__
)
def test_a_layer_taken_for_deterministic_is(layer: type[nn.Module]) -> None:
    make, inputs = LAYERS[layer]
    module = make().train()
    before = torch.get_rng_state()
    module(inputs)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_module_of_ones_own_is_taken_to_draw() -> None:
    assert Body(Noisy()).stochastic
    assert Body(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))).stochastic
    assert not Body(MLP(2, (3,), 2, standardize=True)).stochastic


def test_what_a_model_draws_is_keyed_by_seed_and_step() -> None:
    def learned(seed: int, generator: int) -> str:
        torch.manual_seed(0)
        learner = maker("naive", head="fixed", model=Noisy)(seed)
        torch.manual_seed(generator)
        before = torch.get_rng_state()
        go(learner, WALK)
        assert torch.equal(torch.get_rng_state(), before)
        return learner.digest()

    assert learned(0, 1) == learned(0, 2)
    assert learned(0, 1) != learned(1, 1)


class Comparing:
    """A rule that asks for the gradient on the step's own batch, as those that compare do."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.asked: list[Tree] = []

    def project(self, update: Update, oracle: Oracle) -> Update:
        """The update as it was proposed."""
        self.asked = [oracle.gradient_on(self.batch), update.tree]
        return update

    def observe(self, trace: Trace) -> None:
        """Nothing to note."""

    def consolidate(self, view: View) -> None:
        """Nothing to close."""

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


def test_a_rule_may_ask_for_a_gradient() -> None:
    batch = Batch(torch.rand(3, FEATURES), torch.tensor([0, 1, 2]))
    rule = Comparing(batch)
    model, config = MLP(FEATURES, (8,), 3), OnlineLearnerConfig(head="fixed")
    Learner(model, config, method=Recipe(name="comparing", rules=(rule,))).learn_batch(batch)
    found, proposed = rule.asked
    assert found.keys() == proposed.keys()
    assert all(torch.equal(found[name], proposed[name]) for name in found)
