"""Saturation: where the bases leave nothing to learn with, they give up what protected least, and tell it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tenuto import Batch, Learner, OnlineLearnerConfig, subspace
from tenuto.adapters.lora import adapt
from tenuto.methods.shared.saturation import HALF_LIFE, Saturation, shrunk
from tenuto.models.language import LanguageModel, answer, code
from tests import language

CONFIG = OnlineLearnerConfig(
    task="language", optimizer="adamw", learning_rate=0.01, batch_size=1, boundaries="none", memory_size=8
)
OPTIONS = {"threshold": 1.0, "directions": 512, "general": 512, "revise": False, "ratio": 0.0}
UNTIL = 87
"""The first n with 2^(-n / 20) < .05."""


def noise(count: int) -> Batch:
    """Rows of all kinds of tokens: what they give a site spans everything."""
    draws = np.random.default_rng(0).integers(3, 500, (count, language.ROOM))
    rows = [code([(row[:-1].tolist(), False), (row[-1:].tolist(), True)], language.ROOM) for row in draws]
    return Batch(torch.from_numpy(np.stack(rows)), [answer(row, language.ANSWER) for row in rows])


def full(**options: Any) -> Learner:
    """A learner of one block whose bases span all inputs there are."""
    base = language.base()
    base.model.layers = base.model.layers[:1]
    model = LanguageModel(adapt(base, targets=("q_proj", "v_proj", "o_proj"), seed=1))
    learner = Learner(model, CONFIG, method="ogp_lora", options={**OPTIONS, **options})
    learner.anchor(noise(6))
    assert all(basis.shape == (64, 64) for basis in learner.body.adapter.bases.values())
    return learner


def told(learner: Learner) -> dict[str, Any]:
    return learner.recipe.protection.state()


def test_saturated_bases_are_pruned_and_what_was_new_is_learned() -> None:
    learner, (row, *_) = full(), language.rows()
    losses = [learner.learn_one(row).loss for _ in range(UNTIL)]
    assert len(set(losses)) == 1, "something was learned where nothing is left to learn with"
    assert told(learner)["saturation"]["prunes"] == 0
    learner.learn_one(row)
    assert told(learner)["saturation"]["prunes"] == 1
    assert all(basis.shape == (64, 32) for basis in learner.body.adapter.bases.values())
    budget = learner.recipe.protection.told()["budget"]
    assert budget.keys() == learner.body.adapter.bases.keys()
    assert all(0 < share < 0.5 for share in budget.values()), "not what protected least was given up"
    for _ in range(25):
        learner.learn_one(row)
    assert float(learner.learn_one(row).loss) < 0.5 * losses[0]
    assert told(learner)["saturation"]["prunes"] == 1


def test_the_budget_is_the_energy_that_is_no_longer_protected() -> None:
    learner = full()
    general = noise(6)
    with torch.no_grad(), learner.body.adapter.reading() as reads:
        learner.model(general.inputs)
    rows = {
        site: torch.nn.functional.normalize(reads.rows(site, slice(None)), dim=1) for site in reads.inputs
    }
    for _ in range(UNTIL + 1):
        learner.learn_one(language.rows()[0])
    budget = learner.recipe.protection.told()["budget"]
    for site, basis in learner.body.adapter.bases.items():
        assert budget[site] == pytest.approx(1 - subspace.captured(rows[site], basis), abs=1e-4)


def test_a_row_that_is_known_saturates_nothing() -> None:
    """Its gradient vanishes too, and means nothing."""
    learner = full(high=100.0)
    for _ in range(UNTIL + 3):
        learner.learn_one(language.rows()[0])
    assert told(learner)["saturation"]["prunes"] == 0
    assert told(learner)["saturation"]["kappa"] == 1.0


def test_it_is_the_same_after_a_resume_just_before() -> None:
    one, other, (row, *_) = full(), full(), language.rows()
    for _ in range(UNTIL):
        one.learn_one(row)
    other.load_state(one.save_state())
    for _ in range(4):
        one.learn_one(row)
        other.learn_one(row)
    assert told(other)["saturation"]["prunes"] == 1
    assert one.digest() == other.digest()


def test_both_signs_are_needed_and_only_full_sites_give_way() -> None:
    bases = {"one": torch.eye(8)[:, :4], "two": torch.eye(8)[:, :4]}
    watch = Saturation()
    for _ in range(10 * HALF_LIFE):
        assert watch.prune(0.0, bases, {"one": 0.96, "two": 0.9}) is None
    assert watch.spent
    pruned = watch.prune(0.0, bases, {"one": 1.0, "two": 0.94})
    assert {site: basis.shape[1] for site, basis in pruned.items()} == {"one": 2, "two": 4}
    assert watch.budget == {"one": 0.5}
    lively = Saturation()
    for _ in range(10 * HALF_LIFE):
        assert lively.prune(0.06, bases, {"one": 1.0, "two": 1.0}) is None


def test_directions_of_least_energy_go_whatever_order_they_came_in() -> None:
    watch, basis = Saturation(), torch.eye(4)
    watch.follow("site", basis[:, :0], basis, torch.diag(torch.tensor([1.0, 4.0, 2.0, 3.0]).sqrt()))
    kept, left = shrunk(watch.state()["energy"]["site"], 2)
    assert kept.tolist() == [1, 3]
    assert left.tolist() == pytest.approx([0.2, 0.1])
    turned = basis[:, [2, 0, 3, 1]]
    watch.follow("site", basis, turned)
    assert watch.state()["energy"]["site"].tolist() == pytest.approx([0.2, 0.1, 0.3, 0.4])
