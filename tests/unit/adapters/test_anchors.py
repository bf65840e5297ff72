"""Anchors hold a model to what it answered at first; without any, the method is plain replay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.errors import ConfigError
from tenuto.methods.shared.anchors import likeliest
from tenuto.methods.shared.terms import Anchored
from tenuto.models.inputs import stack
from tenuto.protocols import Forward
from tenuto.tasks import Classification
from tenuto.types import Draw
from tests import language
from tests.unit.adapters.test_language import CONFIG

STORIES = (
    ("Once upon a time", " there was a little girl who liked to play"),
    ("The sun was", " warm and the birds sang in the trees"),
    ("One day, a dog", " found a ball in the park and ran home"),
    ("Lily and Tom", " went to the park with their mom"),
)


def anchors() -> Batch:
    return stack([language.row(prompt, text) for prompt, text in STORIES])


def learner(**options: Any) -> Learner:
    config = CONFIG.but({"learning_rate": 0.01})
    return Learner(language.model(), config, method="anchored", options=options)


def divergence(now: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """KL(before || now) over the last axis."""
    q, p = now.log_softmax(-1), before.log_softmax(-1)
    return F.kl_div(q, p, reduction="none", log_target=True).sum(-1)


@pytest.mark.parametrize("shape", [(3, 8), (3, 2, 40)])
def test_the_divergence_is_that_of_the_distributions_where_all_is_kept(shape: tuple[int, ...]) -> None:
    draws = torch.Generator().manual_seed(0)
    before, now = (torch.randn(shape, generator=draws) for _ in range(2))
    before[..., 20:] -= 40.0
    which, chances = likeliest(before, room=2)
    targets = torch.zeros(shape[:-1], dtype=torch.int64)
    kept = {"likeliest": which, "chances": chances, "targets": targets}
    draw = Draw(slice(0, 3), torch.empty(0, dtype=torch.int64), kept)
    batch = Batch(torch.zeros(3, 1), targets, draws={"anchors": draw})
    found = Anchored("anchors", 2.0)(Forward(batch, now, Classification()))
    if shape[-1] > 20:
        top = now.log_softmax(-1).gather(-1, which)
        expected = (chances.exp() * (chances - top)).sum(-1)
    else:
        expected = divergence(now, before)
    assert found is not None
    torch.testing.assert_close(found, 2 * expected.mean(), atol=1e-3, rtol=1e-3)


def forgotten(made: Learner) -> float:
    """How far the answers to other texts moved from the base's, in nats per token."""
    row = language.inputs(language.row("The cat sat", " on the mat and looked at the moon"))
    with torch.no_grad():
        now = made.outputs(row).log_softmax(-1)
        with made.model.base.disable_adapter():
            before = made.outputs(row).log_softmax(-1)
    return divergence(now, before).mean().item()


def test_what_was_known_moves_less_with_anchors_and_corrections_are_learned() -> None:
    found = {}
    for held in (False, True):
        made = learner(weight=4.0, anchors=2)
        if held:
            made.anchor(anchors())
        for row in language.rows():
            for _ in range(30):
                assert made.learn_one(row).verdict.keeps
        found[held] = forgotten(made)
        row = language.rows()[-1]
        assert made.learn_one(row).loss < 2.0
    assert found[True] < 0.5 * found[False]


def test_anchors_are_given_once_before_all() -> None:
    made = learner()
    with pytest.raises(ConfigError, match="holds to none"):
        Learner(language.model(), CONFIG, method="er").anchor(anchors())
    made.anchor(anchors())
    with pytest.raises(ConfigError, match="given once"):
        made.anchor(anchors())
    made.learn_one(language.rows()[0])
    with pytest.raises(ConfigError, match="something was learned"):
        made.anchor(anchors())


def test_an_anchored_learner_resumes_bit_for_bit() -> None:
    one, other = learner(), learner()
    one.anchor(anchors())
    one.learn_one(language.rows()[0])
    other.load_state(one.save_state())
    for row in language.rows():
        assert one.learn_one(row).batch.replayed == other.learn_one(row).batch.replayed >= 4
    assert one.digest() == other.digest()


def test_classes_can_be_held_to_anchors_too() -> None:
    draws = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 6, generator=draws)
    config = OnlineLearnerConfig(classes=(0, 1, 2), learning_rate=0.05, memory_size=10)

    def moved(held: bool) -> float:
        torch.manual_seed(0)
        made = Learner(
            torch.nn.Linear(6, 3), config, method="anchored", options={"weight": 10.0, "anchors": 8}
        )
        if held:
            made.anchor(Batch(rows, torch.zeros(40, dtype=torch.int64)))
        before = made.outputs(rows).softmax(1)
        for step in range(60):
            made.learn_batch(Batch(rows[step % 4][None] + 5, [1]))
        return (made.outputs(rows).softmax(1) - before).abs().mean().item()

    assert moved(held=True) < 0.6 * moved(held=False)
