"""Experts: a gate that nothing moves, blocks and bases of each one's own, and rest for those not asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tenuto import Learner, OnlineExample, trees
from tenuto.adapters.experts import Downs, Gate, expert
from tenuto.adapters.export import export
from tenuto.errors import ConfigError, StateError
from tenuto.models.inputs import stack
from tests import language

CONFIG = language.PROTECTED
OPTIONS = {"ratio": 0.0, "threshold": 1.0, "experts": 4, "active": 2}


def learner(targets: tuple[str, ...] = ("q_proj", "v_proj"), seed: int = 1, **options: Any) -> Learner:
    model, config = language.model(targets=targets), replace(CONFIG, seed=seed)
    return Learner(model, config, method="ogp_lora", options={**OPTIONS, **options})


def chosen(one: Learner, row: OnlineExample) -> set[int]:
    gate = gate_of(one)
    gate.choose(language.inputs(row))
    return set(gate.present)


def gate_of(one: Learner) -> Gate:
    return next(part for part in one.model.modules() if isinstance(part, Downs)).gate


def teach(one: Learner, row: OnlineExample, updates: int) -> Learner:
    for _ in range(updates):
        assert one.learn_one(row).verdict.keeps
    return one


def loss(one: Learner, row: OnlineExample) -> float:
    return float(one.task.losses(one.outputs(language.inputs(row)), one.task.encode([row.target])))


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), language.EVERYTHING], ids=["q,v", "all"])
def test_what_was_learned_stays_and_what_is_new_is_learned(targets: tuple[str, ...]) -> None:
    """Though the same experts answer both: with one of four active there would be nothing to see."""
    kept, *new = language.rows()
    one = teach(learner(targets, experts=3), kept, 15)
    one.consolidate()
    before = one.outputs(language.inputs(kept))
    for _ in range(15):
        for row in new:
            teach(one, row, 1)
    assert all(chosen(one, kept) & chosen(one, row) for row in new)
    gap = (one.outputs(language.inputs(kept)) - before).abs().max()
    assert gap <= (1e-4 if len(targets) == 2 else 1e-3)
    assert max(loss(one, row) for row in new) < 0.2


def test_without_a_consolidation_nothing_is_protected() -> None:
    kept, *new = language.rows()
    one = teach(learner(experts=2), kept, 20)
    before = one.outputs(language.inputs(kept))
    for row in new:
        teach(one, row, 10)
    assert (one.outputs(language.inputs(kept)) - before).abs().max() > 0.5


def test_only_those_that_answer_are_moved() -> None:
    one, rows = learner(), language.rows()
    teach(one, rows[0], 2)
    for row in rows[1:]:
        mine = chosen(one, row)
        before = trees.copy(one.body.state())
        moments = one.save_state()["optimizer"]["groups"]
        teach(one, row, 2)
        asked = {int(expert(name)) for name in one.body.params}
        assert asked == mine
        assert len(mine) == 2
        moved = {
            int(expert(name))
            for name, weight in one.body.state().items()
            if not torch.equal(weight, before[name])
        }
        assert moved == mine
        after = one.save_state()["optimizer"]["groups"]
        for number in moments.keys() - {str(number) for number in mine}:
            assert trees.digest(after[number]) == trees.digest(moments[number])


def test_rows_of_one_batch_are_answered_each_by_its_own() -> None:
    one, rows = learner(seed=3), language.rows()
    for row in rows:
        teach(one, row, 3)
    alone = [one.outputs(language.inputs(row)) for row in rows]
    batch = one.outputs(stack(rows).inputs)
    for n, outputs in enumerate(alone):
        torch.testing.assert_close(batch[n : n + 1, : outputs.shape[1]], outputs, atol=1e-4, rtol=1e-4)


def test_what_is_asked_decides_and_not_what_is_answered_or_beside_it() -> None:
    one = learner(experts=8)
    fact, other = language.row(*language.FACTS[0]), language.row(language.FACTS[0][0], " Rusto")
    assert chosen(one, fact) == chosen(one, other)
    gate = gate_of(one)
    rows = stack(language.rows()).inputs
    gate.choose(rows)
    together = gate.shares.clone()
    for n in range(len(rows)):
        gate.choose(rows[n : n + 1])
        assert torch.equal(gate.shares[0], together[n])


def test_ordinary_rows_move_the_gate_before_anything_is_learned_and_are_saved() -> None:
    one, rows = learner(experts=8, general=0), language.rows()
    one.anchor(stack(rows[:2]))
    gate = gate_of(one)
    assert gate.centre is not None
    torch.testing.assert_close(gate.centre, one.model.embed(stack(rows[:2]).inputs).double().mean(0))
    teach(one, rows[2], 1)
    other = learner(experts=8, general=0)
    assert any(chosen(other, row) != chosen(one, row) for row in rows)
    other.load_state(one.save_state())
    assert all(chosen(other, row) == chosen(one, row) for row in rows)


def test_a_correction_gets_through_and_its_neighbours_do_not_move() -> None:
    one, rows = learner(language.EVERYTHING, experts=2, active=2), language.rows()
    for row in rows[:2]:
        teach(one, row, 25).consolidate()
    corrected = language.row(language.FACTS[0][0], " Rusto")
    before = loss(one, rows[1])
    assert loss(one, corrected) > 3
    teach(one, corrected, 12)
    assert loss(one, corrected) < 0.3
    assert abs(loss(one, rows[1]) - before) < 0.01


def test_no_plain_adapter_can_say_it(tmp_path: Path) -> None:
    one = learner()
    model: Any = one.model
    with pytest.raises(ConfigError, match="a gate chooses between 4 experts"):
        export(model.base, tmp_path, name="facts", generation=1, base="b", about={"base_sha256": "0"})
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError):
        model.base.merge_and_unload()


def test_a_reply_is_that_of_its_question() -> None:
    model = language.spoken()
    one = Learner(model, CONFIG, method="ogp_lora", options=OPTIONS)
    speech = model.speech
    assert speech is not None
    row = language.said(speech, "Lily likes to eat", "blue stones", "a")
    teach(one, row, 40)
    assert speech.reply(model, [("user", "Lily likes to eat")]).startswith("blue stones")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="3 of 2 experts"):
        Gate(2, 3, seed=0, embed=lambda rows: rows)
    with pytest.raises(StateError, match="no expert was chosen"):
        _ = Gate(2, 1, seed=0, embed=lambda rows: rows).shares
    gate = Gate(2, 1, seed=0, embed=lambda rows: rows)
    gate.choose(torch.eye(2))
    with pytest.raises(StateError, match="for 2 rows, and 3 are read"):
        gate.seen(torch.zeros(3, 2), 0)
    with pytest.raises(ConfigError, match="accumulate is 2"):
        Learner(language.model(), replace(CONFIG, accumulate=2), method="ogp_lora", options=OPTIONS)
    one = learner()
    with pytest.raises(ConfigError, match="has 4 experts, not 3"):
        Learner(one.model, CONFIG, method="ogp_lora", options={**OPTIONS, "experts": 3})
    bare = language.model().base
    with pytest.raises(ConfigError, match="tells no gate"):
        Learner(bare, replace(CONFIG, task="classification"), method="ogp_lora", options=OPTIONS)
