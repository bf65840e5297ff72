"""Gathered gradients: n steps of b rows are one step of n b rows, and nothing is lost or kept too long."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from tenuto import Batch, Learner, methods, trees
from tenuto.optimizers import SGD, Accumulated
from tests.contract import checks
from tests.contract.walks import CLASSES, CONFIG, OPTIMIZERS, WALK, Walk, maker, rows

LETTERS = "abcdeedcba"


def learner(optimizer: str, accumulate: int) -> Learner:
    """A learner whose head is whole from the start."""
    changes, factory = OPTIMIZERS[optimizer]
    config = replace(CONFIG, head="fixed", classes=CLASSES, **changes, accumulate=accumulate)
    model = torch.nn.Linear(4, 5)
    with torch.no_grad():
        model.weight.copy_(torch.arange(20).view(5, 4) / 20)
        model.bias.zero_()
    return Learner(model, config, method="naive", optimizer=factory)


@pytest.mark.parametrize("every", [2, 5])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_n_steps_of_b_rows_are_one_of_n_times_b(optimizer: str, every: int) -> None:
    one, many = learner(optimizer, 1), learner(optimizer, every)
    for seed in range(4):
        batch = rows(LETTERS, seed=seed)
        one.learn_batch(batch)
        for part in range(every):
            piece = slice(part * 10 // every, (part + 1) * 10 // every)
            many.learn_batch(Batch(batch.inputs[piece], batch.targets[piece]))
        for name, parameter in one.body.params.items():
            torch.testing.assert_close(many.body.params[name], parameter, rtol=1e-4, atol=1e-6)
    assert (one.steps, many.steps) == (4, 4 * every)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_between_the_moves_nothing_moves(optimizer: str) -> None:
    many = learner(optimizer, 3)
    digests = []
    for seed in range(7):
        many.learn_batch(rows(LETTERS, seed=seed))
        digests.append(trees.digest(dict(many.body.params)))
    moved = [a != b for a, b in pairwise(digests)]
    assert moved == [False, True, False, False, True, False]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_keeps_the_contract_of_a_learner(optimizer: str) -> None:
    make = maker("er", optimizer=optimizer, accumulate=3)
    for check in (
        checks.resumes_at_every_step,
        checks.goes_back_in_time,
        checks.state_is_plain,
        checks.a_refused_update_changes_nothing,
        checks.a_strange_state_is_refused,
    ):
        check(make, WALK)


@pytest.mark.parametrize("method", methods.known(plain=True))
def test_every_method_takes_moves_that_are_none(method: str) -> None:
    walk: Walk = WALK[:7]
    checks.resumes_at_every_step(maker(method, accumulate=2), walk)
    checks.a_refused_update_changes_nothing(maker(method, accumulate=2), walk)


def test_a_class_that_comes_half_way_has_gathered_nothing() -> None:
    twice, theta = Accumulated(SGD(learning_rate=1.0), 2), {"w": torch.zeros(1, 2)}
    twice.commit(theta, twice.propose(theta, {"w": torch.ones(1, 2)}))
    grown = {"w": torch.zeros(2, 2)}
    twice.resize(grown)
    twice.commit(grown, twice.propose(grown, {"w": torch.ones(2, 2)}))
    assert grown["w"].tolist() == [[-1.0, -1.0], [-0.5, -0.5]]


def test_a_rule_may_move_between_the_moves() -> None:
    rows_ = rows(LETTERS)
    every = [Learner(config=replace(CONFIG, accumulate=n), method="slda") for n in (1, 4)]
    for one in every:
        for _ in range(3):
            one.learn_batch(rows_)
    assert torch.equal(*(one.outputs(rows_.inputs) for one in every))


def test_a_changed_rate_reaches_the_optimizer() -> None:
    many = learner("sgd", 2)
    many.configure({"learning_rate": 0.5})
    assert many.optimizer.learning_rate == 0.5
    assert many.save_state()["optimizer"]["inner"]["learning_rate"] == 0.5
    many.learn_batch(rows(LETTERS))
    many.optimizer.reset()
    assert many.save_state()["optimizer"] == {
        "inner": {"learning_rate": 0.5, "velocity": {}},
        "sum": {},
        "count": 0,
    }
