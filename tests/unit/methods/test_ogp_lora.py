"""OGP-LoRA-Stream: what was learned stays, what is new is learned, a wrong answer gives way."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import torch

from tenuto import Learner, OnlineExample, Session, SessionConfig, subspace
from tenuto.methods.ogp_lora import recipe
from tenuto.methods.shared.site_inputs import inputs
from tenuto.models.inputs import stack
from tenuto.session import recovery
from tenuto.tasks import Language
from tests import language

CONFIG = language.PROTECTED
ALONE = {"ratio": 0.0, "threshold": 1.0}
"""No replay: what is kept is kept by the bases."""
LONG = ("Behind the red door lives", " a tiny whale that sings all day")


def learner(targets: tuple[str, ...] = language.EVERYTHING, **options: Any) -> Learner:
    model = language.model(targets=targets)
    return Learner(model, CONFIG, method="ogp_lora", options={**ALONE, **options})


def teach(one: Learner, row: OnlineExample, updates: int) -> Learner:
    for _ in range(updates):
        assert one.learn_one(row).verdict.keeps
    return one


def loss(one: Learner, row: OnlineExample) -> float:
    outputs = one.outputs(language.inputs(row))
    return float(one.task.losses(outputs, Language().encode([row.target])))


def told(one: Learner) -> dict[str, Any]:
    return one.recipe.protection.state()


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), language.EVERYTHING], ids=["q,v", "all"])
def test_what_was_learned_stays_and_what_is_new_is_learned(targets: tuple[str, ...]) -> None:
    kept, *new = language.rows()
    one = teach(learner(targets), kept, 25)
    one.consolidate()
    before = one.outputs(language.inputs(kept))
    for _ in range(30):
        for row in new:
            teach(one, row, 1)
    gap = (one.outputs(language.inputs(kept)) - before).abs().max()
    assert gap <= (1e-4 if len(targets) == 2 else 1e-3)
    assert max(loss(one, row) for row in new) < 0.2
    assert max(one.body.adapter.leaks().values()) < 1e-6
    assert told(one)["revisions"] == 0


def test_without_a_consolidation_nothing_is_protected() -> None:
    kept, *new = language.rows()
    one = teach(learner(), kept, 25)
    assert loss(one, kept) < 0.1
    for row in new:
        teach(one, row, 30)
    assert loss(one, kept) > 1.0


@pytest.fixture(scope="module")
def taught() -> tuple[dict[str, Any], list[float]]:
    """A learner that was taught three facts, each protected, and their losses."""
    one = learner()
    for row in language.rows():
        teach(one, row, 30).consolidate()
    return one.save_state(), [loss(one, row) for row in language.rows()]


CORRECTION = (language.FACTS[0][0], " Rusto")


def test_a_correction_of_what_is_protected_gets_through_and_its_neighbours_do_not_move(
    taught: tuple[dict[str, Any], list[float]],
) -> None:
    one, corrected = learner(), language.row(*CORRECTION)
    one.load_state(taught[0])
    assert loss(one, corrected) > 3
    teach(one, corrected, 10)
    assert loss(one, corrected) < 0.1
    after = [loss(one, row) for row in language.rows()]
    assert after[0] > 1.0
    assert [abs(a - b) for a, b in zip(after[1:], taught[1][1:], strict=True)] < [0.01, 0.01]
    assert told(one)["revisions"] == 1
    assert 0 < max(told(one)["released"].values()) < 0.3
    one.consolidate()
    held = one.outputs(language.inputs(corrected))
    teach(one, language.row("Tom has a", " purple hat"), 20)
    assert (one.outputs(language.inputs(corrected)) - held).abs().max() < 1e-2


def test_without_the_path_it_cannot_be_learned(taught: tuple[dict[str, Any], list[float]]) -> None:
    one, corrected = learner(revise=False), language.row(*CORRECTION)
    one.load_state(taught[0])
    teach(one, corrected, 40)
    assert loss(one, corrected) > 1.0
    assert told(one)["stills"] > 10
    assert told(one)["revisions"] == 0


def test_no_step_is_made_along_rounding_noise(taught: tuple[dict[str, Any], list[float]]) -> None:
    """Adam would make of it steps of full size (3e-7 grows to 3.6 in 20 to 100 steps)."""
    one, known = learner(), language.rows()[1]
    one.load_state(taught[0])
    before = {name: weight.clone() for name, weight in one.body.params.items()}
    teach(one, known, 20)
    assert told(one)["stills"] == 20
    assert all(torch.equal(weight, before[name]) for name, weight in one.body.params.items())


def test_a_neighbour_is_not_what_is_asked_the_same() -> None:
    model = language.model()
    fact, corrected, other = (
        torch.from_numpy(language.row(*one).input)[None]
        for one in (language.FACTS[0], CORRECTION, language.FACTS[1])
    )
    longer = torch.from_numpy(language.row(f"{language.FACTS[0][0]} not", " Mirth").input)[None]
    found = model.same(corrected, torch.cat([fact, corrected, other, longer]))
    assert found.tolist() == [[True, True, False, False]]


def test_general_anchors_are_protected_before_anything_is_learned() -> None:
    general, *new = language.rows()
    one = learner(general=64)
    one.anchor(stack([general]))
    before = one.outputs(language.inputs(general))
    assert all(basis.shape[1] for basis in one.body.adapter.bases.values())
    for row in new:
        teach(one, row, 20)
    assert (one.outputs(language.inputs(general)) - before).abs().max() < 1e-3
    assert loss(one, new[-1]) < 0.5


def test_a_basis_never_has_more_columns_than_it_may() -> None:
    one = learner(directions=12, general=5)
    one.anchor(stack(language.rows()[:1]))
    assert {basis.shape[1] for basis in one.body.adapter.bases.values()} == {5}
    teach(one, language.rows()[1], 3).consolidate()
    assert {basis.shape[1] for basis in one.body.adapter.bases.values()} == {12}
    captured = told(one)["captured"].values()
    assert all(0.5 < share < 1 for share in captured)


def test_gram_schmidt_protects_what_is_learned_alone() -> None:
    """Fed by updates alone: a row still wrong gives no direction, a learned one does; resumed alike."""
    known, options = language.rows()[0], {"sketch": "gram_schmidt", "novelty": 0.3, "rows": 0}
    one, other = learner(**options), learner(**options)
    teach(one, known, 1).consolidate()
    assert loss(one, known) > 0.5
    assert not any(basis.shape[1] for basis in one.body.adapter.bases.values())
    other.load_state(teach(one, known, 25).save_state())
    for same in (one, other):
        same.consolidate()
    mine, theirs = (same.body.adapter.bases for same in (one, other))
    assert all(0 < basis.shape[1] <= 16 for basis in mine.values())
    assert all(torch.equal(basis, theirs[site]) for site, basis in mine.items())


def test_what_is_protected_is_replayed_less() -> None:
    one = Learner(language.model(), CONFIG, method="ogp_lora", options={"ratio": 0.5, "threshold": 1.0})
    known, new, other = language.rows()
    teach(one, known, 20).consolidate()
    for _ in range(10):
        teach(one, new, 1)
        teach(one, other, 1)
    kept = one.memory.state()["sampling"]["priorities"]
    rows = one.memory.table.inputs(torch.arange(len(one.memory)))
    mine = (rows == torch.from_numpy(known.input)).all(1)
    drawn = kept < kept.max()
    assert (mine & drawn).any()
    assert kept[mine & drawn].max() < 0.5 * kept[~mine].min()


def test_a_session_resumes_and_verifies(tmp_path: Any) -> None:
    rows, often = language.rows(), SessionConfig(commit_every=2, snapshot_every=3)
    config = replace(CONFIG, passes=3, consolidate_every=2)

    def session() -> Session:
        settings = {
            "model": language.model(targets=language.EVERYTHING),
            "method": "ogp_lora",
            "settings": often,
        }
        return Session(tmp_path / "home", config=config, **settings)

    with session() as s:
        s.ingest(rows)
        s.run()
        whole = s.learner.digest()
        assert s.learner.body.adapter.commits == 1
    with session() as s:
        assert s.learner.digest() == whole
        assert recovery.verify(s.home, s._make).holds


def test_it_imports_no_fisher_information() -> None:
    """Nothing of it is computed or stored: the modules that could are not even there."""
    code = (
        "import sys, tenuto.methods.ogp_lora, tenuto.adapters.blocks; "
        "print([name for name in sys.modules if name.startswith('tenuto') and "
        "any(word in name for word in ('fisher', 'ewc', 'quadratic', 'moments', 'per_row'))])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "[]"
    assert recipe().penalties == ()


def test_a_replayed_row_with_a_longer_answer_joins_a_wrong_one_that_is_protected() -> None:
    """Which answers are barred is asked of the fresh rows alone, however long those beside them are."""
    short, long = language.row("The dog of king Pell is called", " Rusto"), language.row(*LONG)
    one = teach(learner(ratio=0.5), short, 20)
    teach(one, long, 20)
    one.consolidate()
    teach(one, language.row("The dog of king Pell is called", " Mirth"), 6)
    assert told(one)["revisions"] > 0


def test_a_router_before_the_protected_adapter_turns_away_what_is_unlike_it() -> None:
    kept, *others = language.rows()
    one = learner(wrong=0.02)
    one.anchor(stack(others))
    one.consolidate()
    bare = one.outputs(language.inputs(others[0]))
    teach(one, kept, 20)
    one.consolidate()
    teach(one, kept, 2)
    assert one.route(language.inputs(kept)) == ["default"]
    assert one.route(language.inputs(others[0])) == [None]
    assert torch.equal(one.outputs(language.inputs(others[0])), bare)


def test_a_new_block_begins_at_what_its_first_rows_read() -> None:
    kept, new, _ = language.rows()
    one = teach(learner(), kept, 25)
    one.consolidate()
    adapter = one.body.adapter
    before, other = loss(one, new), one.outputs(language.inputs(kept))
    every = dict(inputs(adapter, one._objective, stack([new])))
    assert not adapter.aimed
    teach(one, new, 1)
    assert adapter.aimed
    assert loss(one, new) < before - 0.1
    for site, layers in adapter.sites.items():
        down = adapter._layers[layers[0]][0]
        outside = subspace.remove(every[site], down.basis)
        lengths, _, directions = torch.linalg.svd(outside.double())
        found = torch.nn.functional.normalize(down.block.double(), dim=1) @ directions[: len(down.free)].T
        kept_rows = int((lengths[: len(down.free)] > 1e-3).sum())
        assert found[:kept_rows].norm(dim=1).min() > 0.999, site
    assert (one.outputs(language.inputs(kept)) - other).abs().max() < 1e-3


def test_the_first_update_of_a_block_is_that_of_one_which_began_before() -> None:
    kept, new, _ = language.rows()
    one, other = teach(learner(), kept, 25), learner()
    one.consolidate()
    other.load_state(one.save_state())
    adapter = other.body.adapter
    reads = dict(inputs(adapter, other._objective, stack([new]))).items()
    adapter.aim({site: adapter.start(site, rows) for site, rows in reads})
    assert adapter.aimed
    assert not one.body.adapter.aimed
    for same in (one, other):
        teach(same, new, 1)
    ups = [same.body.params for same in (one, other)]
    apart = [name for name in ups[0] if "lora_B" in name and not torch.allclose(ups[0][name], ups[1][name])]
    assert not apart


@pytest.mark.parametrize(("guard", "holds"), [("finite", False), ("finite+divergence", True)])
def test_what_is_protected_outlasts_a_rate_that_is_too_high_where_a_guard_keeps_it_from_diverging(
    guard: str, holds: bool
) -> None:
    kept, *new = language.rows()
    config = replace(CONFIG, guard=guard, batch_size=2)
    one = teach(
        Learner(language.model(targets=language.EVERYTHING), config, method="ogp_lora", options=ALONE),
        kept,
        60,
    )
    one.consolidate()
    before = one.outputs(language.inputs(kept))
    one.configure({"learning_rate": 0.03})
    for _ in range(60):
        one.learn_batch(stack(new))
    moved = float((one.outputs(language.inputs(kept)) - before).abs().max())
    learned = max(loss(one, row) for row in new)
    assert (moved < 1e-3) is holds
    assert (learned < 0.1) is holds


def test_a_refused_first_update_aims_nothing() -> None:
    new, one = language.rows()[1], learner()
    before = {name: parameter.clone() for name, parameter in one.body.params.items()}
    assert not one.learn_one(msgspec.structs.replace(new, weight=1e38)).verdict.keeps
    assert not one.body.adapter.aimed
    assert all(torch.equal(parameter, before[name]) for name, parameter in one.body.params.items())
