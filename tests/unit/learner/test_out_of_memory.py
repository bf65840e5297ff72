"""An update that does not fit into memory is made in parts, or refused with nothing changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tenuto import Batch, Learner, OnlineLearnerConfig, Session, trees
from tenuto.adapters.lora import adapt
from tenuto.errors import OutOfMemory
from tenuto.methods.shared.anchors import Anchors
from tenuto.methods.shared.estimators import plain
from tenuto.methods.shared.parted import joined as together
from tenuto.methods.shared.parted import parted
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.methods.shared.teacher import Predecessor
from tenuto.methods.shared.terms import Anchored, Distillation, Supervised
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel
from tests import language
from tests.unit.adapters.test_language import CONFIG


class Narrow(LanguageModel):
    """A language model with room for so many rows at once."""

    room: int = 100

    def forward(self, rows: Tensor) -> Tensor:
        """As ever, but where there is no room: that is told last, when random numbers were drawn."""
        outputs = super().forward(rows)
        if len(rows) > self.room:
            raise torch.OutOfMemoryError(f"{len(rows)} rows, room for {self.room}")
        return outputs


def recipe() -> Recipe:
    """Every term whose mean is over rows of its own: fresh and replayed, anchors, a teacher's answers."""
    return Recipe(
        name="mixed",
        terms=(Supervised(draws=("replay",)), Anchored("anchors", 4.0), Distillation(0.5, 2.0)),
        replay=(Replay(),),
        anchors=Anchors(),
        anchored=2,
        teacher=Predecessor(),
    )


def learner(method: Recipe | str | None = None, *, dropout: float = 0.0, **settings: Any) -> Learner:
    """One that has learned two rows, ended a context, and is to learn the third."""
    base = language.base()
    for block in base.model.layers:
        block.self_attn.train().attention_dropout = dropout
    config = replace(CONFIG, replay_ratio=0.67, **settings)
    made = Learner(Narrow(adapt(base)), config, method=method or recipe())
    if made.recipe.anchors is not None:
        made.anchor(stack([language.row("One day a", " girl"), language.row("The sun", " was warm and big")]))
    made.learn_batch(stack(language.rows()[:2]))
    made.consolidate()
    return made


def joined(made: Learner) -> Batch:
    """The third row with a weight, and what joins it."""
    rows = stack(language.rows()[2:])
    targets = made.task.encode(rows.targets)
    return made._recall(Batch(rows.inputs, targets, torch.tensor([2.0])))


def narrow(made: Learner, room: int) -> Learner:
    model: Any = made.model
    model.room = room
    return made


def length(tree: Any) -> float:
    return float(torch.cat([one.flatten() for one in tree.values()]).norm())


@pytest.mark.parametrize(("room", "parts"), [(100, 1), (3, 2), (2, 3), (1, 5)])
def test_parts_have_the_gradient_of_the_whole(room: int, parts: int) -> None:
    made = learner()
    batch = joined(made)
    assert len(batch) == 5
    assert set(batch.draws) == {"replay", "anchors"}
    whole = plain(made._objective, made.body.params, batch)
    found = plain(narrow(made, room)._objective, made.body.params, batch)
    assert (whole.parts, found.parts) == (1, parts)
    torch.testing.assert_close(found.loss, whole.loss)
    torch.testing.assert_close(found.outputs, whole.outputs)
    apart = trees.add(found.grads, whole.grads, alpha=-1.0)
    assert length(apart) < 1e-5 * length(whole.grads)
    assert all(parameter.grad is None for parameter in made.body.params.values())


def test_a_mean_of_the_parts_means_would_be_another() -> None:
    """So that the test above can fail: parts of unlike terms do not weigh alike."""
    made = learner()
    batch = joined(made)
    whole = plain(made._objective, made.body.params, batch).grads
    fresh = Batch(batch.inputs[:3], batch.targets[:3], batch.weights[:3])
    few = plain(made._objective, made.body.params, fresh).grads
    assert length(trees.add(whole, few, alpha=-1.0)) > 0.01 * length(whole)


def test_what_is_drawn_at_random_is_drawn_again() -> None:
    made = learner(dropout=0.3)
    batch, params, objective = joined(made), made.body.params, made._objective
    torch.manual_seed(7)
    found = parted(objective, params, batch)
    torch.manual_seed(7)
    outputs = [objective.outputs(params, part) for part in torch.split(batch.inputs, 3)]
    loss = objective.loss(batch, outputs_of_all := together(outputs))
    grads = torch.autograd.grad(loss, list(params.values()))
    assert found.parts == 2
    assert torch.equal(found.outputs, outputs_of_all)
    torch.testing.assert_close(list(found.grads.values()), list(grads), rtol=1e-4, atol=1e-6)


def test_where_not_one_row_fits_nothing_has_changed() -> None:
    made, clean = learner(), learner()
    before = made.digest()
    with pytest.raises(OutOfMemory, match="row by row; nothing has changed"):
        narrow(made, 0).learn_batch(stack(language.rows()[2:]))
    assert made.digest() == before
    assert all(parameter.grad is None for parameter in made.body.params.values())
    for one in (made, clean):
        narrow(one, 100).learn_batch(stack(language.rows()[2:]))
    assert made.digest() == clean.digest()


def test_a_later_pass_that_does_not_fit_is_left_out() -> None:
    class Filling(Narrow):
        """Room for the first pass alone."""

        passes = 0

        def forward(self, rows: Tensor) -> Tensor:
            """None from the second on."""
            self.passes += torch.is_grad_enabled()
            self.room = 100 if self.passes < 2 else 0
            return super().forward(rows)

    rows = stack(language.rows()[:1])
    twice, once = (
        Learner(kind(adapt(language.base())), replace(CONFIG, passes=passes), method="er")
        for kind, passes in ((Filling, 2), (Narrow, 1))
    )
    for one in (twice, once):
        assert one.learn_batch(rows).verdict.keeps
    states = [one.save_state() for one in (twice, once)]
    settings = [state.pop("settings") for state in states]
    assert settings[0] != settings[1]
    assert trees.digest(states[0]) == trees.digest(states[1])


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(4), nn.Identity()], ids=["moving", "still"])
def test_a_model_whose_buffers_move_is_not_read_in_parts(layer: nn.Module) -> None:
    class Small(nn.Sequential):
        """Room for three rows."""

        def forward(self, rows: Tensor) -> Tensor:
            """None for more."""
            outputs: Tensor = super().forward(rows)
            if len(rows) > 3 and torch.is_grad_enabled():
                raise torch.OutOfMemoryError("no room")
            return outputs

    config = OnlineLearnerConfig(classes=(0, 1), guard="finite")
    made = Learner(Small(nn.Linear(4, 4), layer, nn.Linear(4, 2)), config, method="naive")
    batch, before = Batch(torch.randn(6, 4), [0, 1] * 3), made.digest()
    if isinstance(layer, nn.Identity):
        assert made.learn_batch(batch).estimate.parts == 2
        return
    with pytest.raises(OutOfMemory, match="BatchNorm"):
        made.learn_batch(batch)
    made.learn_batch(Batch(torch.randn(2, 4), [0, 1]))
    assert made.digest() != before


def test_a_guard_that_reads_the_batch_inside_the_model_refuses_parts() -> None:
    made = learner("er", guard="activations")
    before = made.digest()
    with pytest.raises(OutOfMemory, match="another guard"):
        narrow(made, 2).learn_batch(stack(language.rows()))
    assert made.digest() == before


def test_protection_which_reads_the_batch_inside_the_model_refuses_parts() -> None:
    model = Narrow(adapt(language.base()))
    made = Learner(model, CONFIG, method="ogp_lora", options={"ratio": 0.5})
    for row in language.rows()[:2]:
        made.learn_one(row)
    made.consolidate()
    before = made.digest()
    with pytest.raises(OutOfMemory, match="replay fewer"):
        narrow(made, 1).learn_batch(stack(language.rows()))
    assert made.digest() == before
    assert narrow(made, 100).learn_batch(stack(language.rows())).estimate.parts == 1


def test_a_home_says_which_steps_were_read_in_parts_and_keeps_what_waits(tmp_path: Path) -> None:
    model = Narrow(adapt(language.base()))
    config = replace(CONFIG, batch_size=3)
    with Session(tmp_path / "home", model, config, method="er") as session:
        session.ingest(language.rows())
        model.room = 0
        with pytest.raises(OutOfMemory):
            session.flush()
    model = Narrow(adapt(language.base()))
    model.room = 2
    with Session(tmp_path / "home", model, config, method="er") as session:
        session.flush()
        assert session.learner.examples == 3
        (step,) = session.home.ledger.steps()
        assert step.verdict == "keep; read in 2 parts, for want of memory"
