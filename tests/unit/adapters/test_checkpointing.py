"""Activations that are computed again: the same gradients, bit for bit, and fewer of them kept."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from benchmarks.memory_beyond import account
from tenuto import Learner, trees
from tenuto.adapters.lora import adapt
from tenuto.errors import ConfigError
from tenuto.methods.shared.estimators import plain
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel
from tenuto.randomness import torch_draws
from tenuto.tasks import Language
from tenuto.types import Batch
from tests import language
from tests.data import folder
from tests.unit.adapters.test_language import CONFIG


def learner(*, checkpointing: bool, dropout: float = 0.0, method: str = "er") -> Learner:
    base = language.base()
    for block in base.model.layers:
        block.self_attn.train().attention_dropout = dropout
    return Learner(LanguageModel(adapt(base), checkpointing=checkpointing), CONFIG, method=method)


def batch() -> Batch:
    rows = stack(language.rows())
    return Batch(rows.inputs.long(), Language().encode(rows.targets))


def gradients(made: Learner, *, others: bool = False) -> Any:
    """At the weights, or at others beside them."""
    made.learn_batch(stack(language.rows()[:1]))
    params = made.body.params
    if others:
        params = {name: (one.detach() + 0.01).requires_grad_() for name, one in params.items()}
    with torch_draws(0, "forward", 1):
        return plain(made._objective, params, batch()).grads


def test_null_space_blocks_begin_and_learn_the_same_bit_for_bit() -> None:
    kept, *new = language.rows()
    both = [learner(checkpointing=checkpointing, method="ogp_lora") for checkpointing in (True, False)]
    for made in both:
        for _ in range(5):
            made.learn_one(kept)
        made.consolidate()
        for _ in range(3):
            made.learn_batch(stack(new))
    mine, whole = (dict(made.body.params) | made.body.adapter.bases for made in both)
    assert trees.digest(mine) == trees.digest(whole)


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_are_the_same_bit_for_bit(dropout: float, others: bool) -> None:
    mine, whole = (
        gradients(learner(checkpointing=checkpointing, dropout=dropout), others=others)
        for checkpointing in (True, False)
    )
    assert trees.digest(mine) == trees.digest(whole)
    assert all(bool(one.any()) for one in mine.values())
    if dropout:
        without = gradients(learner(checkpointing=True), others=others)
        assert trees.digest(mine) != trees.digest(without)


def test_a_learner_goes_the_same_way() -> None:
    ways = []
    for checkpointing in (True, False):
        made = learner(checkpointing=checkpointing, method="mir")
        for row in language.rows():
            made.learn_one(row)
        ways.append(made.digest())
    assert ways[0] == ways[1]


def test_fewer_activations_are_kept() -> None:
    name, term = str(folder("stories260K")), "activations kept for the backward"
    again, whole = (account(name, tokens=64, checkpointing=on) for on in (True, False))
    assert again.terms[term] < whole.terms[term] / 4
    assert again.peak < 0.6 * whole.peak
    assert {n: size for n, size in again.terms.items() if n != term} == {
        n: size for n, size in whole.terms.items() if n != term
    }


def test_a_copy_computes_its_own_blocks() -> None:
    model = learner(checkpointing=True).model
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.base.base_model.model.model.layers[0].mlp.down_proj.weight.zero_()  # type: ignore[union-attr, operator]
    rows = batch().inputs
    assert not torch.equal(other(rows), model(rows))


def test_a_model_without_blocks_says_so() -> None:
    with pytest.raises(ConfigError, match="leave checkpointing off"):
        LanguageModel(torch.nn.Linear(2, 2), checkpointing=True)
