"""Passes over a batch end once its loss is low enough, on the same step however a learner is resumed."""

from __future__ import annotations

import pytest
import torch

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.errors import ConfigError
from tests.contract.checks import resumes_at_every_step
from tests.contract.walks import WALK, maker

BATCH = Batch(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), ["a", "b"])


def learner(stop: float | None) -> Learner:
    config = OnlineLearnerConfig(learning_rate=0.5, passes=50, stop_loss=stop, hidden=(8,))
    return Learner(config=config, method="naive")


def test_a_batch_that_is_known_is_not_learned_again() -> None:
    long, short = learner(None), learner(0.05)
    long.learn_batch(BATCH)
    short.learn_batch(BATCH)
    assert long.steps == 50
    assert 2 < short.steps < 50
    before = short.steps
    trace = short.learn_batch(BATCH)
    assert trace.loss < 0.05
    assert short.steps == before + 1
    assert short.examples == 4


def test_it_stops_after_the_first_update_whose_loss_was_low() -> None:
    watched, plain = learner(0.05), learner(None)
    watched.learn_batch(BATCH)
    plain.configure({"passes": 1})
    losses = []
    while not losses or losses[-1] >= 0.05:
        losses.append(plain.learn_batch(BATCH).loss)
    assert watched.steps == len(losses)


def test_it_resumes_and_is_checked() -> None:
    resumes_at_every_step(maker("er", passes=5, stop_loss=0.5), WALK)
    with pytest.raises(ConfigError, match="stop_loss"):
        OnlineLearnerConfig(stop_loss=-1.0)
