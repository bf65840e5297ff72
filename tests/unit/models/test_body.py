"""A module as the learner holds it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto import trees
from tenuto.errors import ConfigError, ExampleError, StateError
from tenuto.models import MLP, Body


class Restless(nn.Module):
    """It draws in evaluation mode too, and replaces its buffer instead of writing into it."""

    asked: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs through a dropout that never rests."""
        if self.training:
            self.asked = self.asked + 1
        outputs: Tensor = self.head(F.dropout(rows, 0.5, training=True))
        return outputs


class Tied(nn.Module):
    """A head that shares its weight with the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.head = nn.Linear(3, 4)
        self.head.weight = self.embed.weight

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs over the vocabulary."""
        outputs: Tensor = self.head(self.embed(rows).mean(1))
        return outputs


def test_the_head_is_the_last_linear_or_the_one_named() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert Body(net).width == 2
    assert Body(net, "0").width == 4
    with pytest.raises(
        ConfigError, match="head_layer 'x' is not a Linear layer of the model; those are: 0, 2"
    ):
        Body(net, "x")


def test_a_bare_linear_is_its_own_head() -> None:
    body = Body(nn.Linear(3, 2))
    body.grow(["new"], seed=0)
    assert body.width == body.columns == 3
    assert list(body.params) == ["weight", "bias"]
    assert body.params["weight"] is body.module.weight
    state = trees.detach(body.state())
    other = Body(nn.Linear(3, 2))
    other.load_state(state)
    assert trees.digest(other.state()) == trees.digest(state)


def test_a_model_without_a_linear_answers_but_cannot_grow() -> None:
    body = Body(nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten()))
    assert body.width is body.columns is None
    assert not body.grows
    body.check(torch.zeros(2, 1, 3))
    assert body.columns == 2
    with pytest.raises(ConfigError, match="cannot grow"):
        body.grow(["new"], seed=0)


def test_a_head_that_shares_its_weight_cannot_grow() -> None:
    body = Body(Tied())
    assert not body.grows
    assert list(body.params) == ["embed.weight", "head.bias"]
    with pytest.raises(ConfigError, match="a weight of its own"):
        body.grow(["new"], seed=0)


def test_a_head_whose_weight_is_computed_cannot_grow() -> None:
    head = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    body = Body(nn.Sequential(nn.Linear(4, 3), head))
    assert body.width == 2
    assert not body.grows
    body.check(torch.zeros(2, 4))


def test_a_model_that_has_no_shapes_yet_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'0\.weight' has no shape yet: run the model on a batch"):
        Body(nn.Sequential(nn.LazyLinear(3)))


def test_a_model_with_nothing_to_train_is_refused() -> None:
    net = nn.Linear(3, 2).requires_grad_(False)
    with pytest.raises(ConfigError, match="no trainable parameter"):
        Body(net)


@pytest.mark.parametrize("outputs", [nn.Identity(), nn.Unflatten(1, (2, 1)), nn.Flatten(0)], ids=repr)
def test_what_a_model_must_answer(outputs: nn.Module) -> None:
    body = Body(nn.Sequential(nn.Linear(3, 2), outputs))
    if isinstance(outputs, nn.Identity):
        body.check(torch.zeros(4, 3))
    else:
        with pytest.raises(ConfigError, match="the model answers one row with a tensor"):
            body.check(torch.zeros(4, 3))


def test_a_last_linear_that_is_not_the_output_is_named() -> None:
    body = Body(nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 1, 3), nn.Flatten()))
    with pytest.raises(ConfigError, match="answers with 2 outputs, but '0', its last Linear layer, has 4"):
        body.check(torch.zeros(4, 3))


def test_rows_the_model_cannot_read_are_refused() -> None:
    body = Body(MLP(4, (5,), 2))
    body.check(torch.zeros(2, 2, 2))
    with pytest.raises(ExampleError, match=r"the model cannot read rows of shape \(3,\) \(torch.float32\)"):
        body.check(torch.zeros(2, 3))


def test_a_single_row_cannot_be_normalised_over_the_batch() -> None:
    body = Body(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))
    with pytest.raises(ExampleError, match="BatchNorm"):
        body.check(torch.zeros(1, 3))
    body.check(torch.zeros(2, 3))


def test_asking_touches_nothing_even_where_the_model_never_rests() -> None:
    body = Body(Restless())
    before, drawn = trees.digest(body.state()), torch.get_rng_state()
    first, second = body.infer(torch.ones(5, 3)), body.infer(torch.ones(5, 3))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert trees.digest(body.state()) == before


def test_asking_leaves_every_module_in_its_mode() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    body = Body(net)
    net[1].eval()
    modes = [module.training for module in net.modules()]
    body.infer(torch.ones(2, 3))
    assert [module.training for module in net.modules()] == modes
    net[0].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        body.infer(torch.ones(2, 3))
    assert [module.training for module in net.modules()] == modes


def test_a_model_comes_in_training_mode_but_its_frozen_parts_keep_theirs() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    net[1].eval()
    Body(net)
    assert [module.training for module in net.modules()] == [True, True, False, True]
    net.eval()
    Body(net)
    assert all(module.training for module in net.modules())


def test_buffers_that_are_replaced_are_put_back_all_the_same() -> None:
    body = Body(Restless())
    saved = body.buffers()
    body.module(torch.ones(2, 3))
    assert body.state()["asked"] == 1
    body.restore(saved)
    assert body.state()["asked"] == 0


def test_a_state_of_another_model_is_named() -> None:
    body = Body(MLP(4, (5,), 2))
    with pytest.raises(StateError, match=r"another model: .*weight"):
        body.load_state(dict(nn.Linear(4, 2).state_dict()))
    with pytest.raises(
        StateError, match=r"the saved body.0.weight is of shape \(6, 4\), the model's \(5, 4\)"
    ):
        body.load_state(dict(MLP(4, (6,), 2).state_dict()))
