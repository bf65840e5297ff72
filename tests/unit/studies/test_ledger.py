"""The memory ledger: counted from a shape alone, the terms are those of a real update, and tell its peak."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from tenuto import OnlineLearnerConfig, Session
from tenuto.cli.shared.program import program
from tenuto.errors import ConfigError
from tenuto.models import bases
from tenuto.session.blueprint import Blueprint
from tenuto.studies import ledger
from tenuto.studies.ledger import Ledger, Plan
from tenuto.studies.ledger.homes import planned
from tests.data import folder

PLAN = Plan(tokens=64, rows=2, directions=32, memory=100)
SHARE = 0.15
"""Of the peak: what is not there at once, or what no term counts."""
ALIKE = {
    "adapters, float32 masters": "adapters",
    "frozen blocks": "frozen blocks",
    "Adam's moments": "Adam's moments",
    "bases": "bases",
    "replay ring": "memory",
    "logits": "logits",
}
"""A term of the shape, and what a real learner's tensors are counted as."""
FILLING = ("inputs that wait for the sketches, at most", "sketches, while bases are empty")
"""What a full basis does without."""


def sizes(found: Ledger) -> dict[str, int]:
    return {term.name: term.bytes for term in found.terms}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_terms_are_those_of_a_real_update_and_tell_its_peak(checkpointing: bool) -> None:
    name, plan = str(folder("stories260K")), replace(PLAN, checkpointing=checkpointing)
    counted = ledger.count(ledger.configured(name), plan)
    base: Any = bases.load(name).model
    real = ledger.account(base, partial(ledger.bounded, plan=plan), tokens=64, fresh=2, device="cpu")
    terms = sizes(counted)
    assert {mine: terms[mine] for mine in ALIKE} == {mine: real.terms[its] for mine, its in ALIKE.items()}
    assert counted.weights == real.weights
    passed = ["inputs of blocks", "activations outside of blocks"] if checkpointing else []
    kept = sum(terms[one] for one in passed or ["activations kept for the backward"])
    assert kept == pytest.approx(real.terms["activations kept for the backward"], rel=0.2 if passed else 0.02)
    idle = sum(terms[one] for one in FILLING)
    whole = counted.total("device") + counted.total("host") - idle
    assert abs(real.peak - whole) < SHARE * real.peak


def test_the_figures_of_the_shape_that_the_design_was_counted_for() -> None:
    """32 blocks of width 2048, r = 8, m = 256, 512 tokens in half precision; here two blocks, times 16."""
    plan = Plan(tokens=512, precision="bfloat16", checkpointing=True, answer=128)
    found = ledger.count(ledger.shaped("layers=2,width=2048,inner=5632,heads=32,vocabulary=32000"), plan)
    mib = {name: size / 2**20 for name, size in sizes(found).items()}
    each = {name: 16 * mib[name] for name in ("adapters, float32 masters", "Adam's moments", "bases")}
    assert each == {"adapters, float32 masters": 8.0, "Adam's moments": 16.0, "bases": 64.0}
    assert 16 * mib["inputs of blocks"] == 64.0
    assert 35 < mib["one block, computed again"] < 45
    assert mib["logits"] < 10
    streamed = sizes(ledger.count(ledger.shaped("layers=1,width=2048"), replace(plan, streamed=True)))
    assert streamed["bases, one at a time"] == 2 * 2**20


def test_experts_at_rest_lie_in_host_memory() -> None:
    shape = ledger.shaped("layers=1,width=64,vocabulary=100")
    one, eight = (ledger.count(shape, replace(PLAN, experts=n, active=min(n, 2))) for n in (1, 8))
    assert sizes(eight)["adapters, float32 masters"] == 2 * sizes(one)["adapters, float32 masters"]
    assert sizes(eight)[FILLING[1]] == 8 * sizes(one)[FILLING[1]]
    assert sizes(eight)["experts at rest, with their moments"] > 0
    assert "experts at rest, with their moments" not in sizes(one)
    with pytest.raises(ConfigError, match="3 of 2 experts"):
        ledger.count(shape, replace(PLAN, experts=2, active=3))


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("width=64", "no shape"),
        ("layers=2,width=64,depth=3", "no shape"),
        ("layers=2,width=-4", "no shape"),
        ("layers=2,width=64,heads=5", "5 heads do not divide"),
        ("layers=2,width=64,heads=4,kv=3", "3 of keys not them"),
    ],
)
def test_what_is_no_shape_is_refused(words: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        ledger.shaped(words)


def test_a_plan_that_does_not_fit_is_refused() -> None:
    shape = ledger.shaped("layers=1,width=64,vocabulary=100")
    with pytest.raises(ConfigError, match="no layer 'c_attn'"):
        ledger.count(shape, replace(PLAN, targets=("c_attn",)))
    with pytest.raises(ConfigError, match="precision"):
        ledger.count(shape, replace(PLAN, precision="int4"))


def test_a_homes_plan_is_its_settings(tmp_path: Path) -> None:
    config = OnlineLearnerConfig(task="language", batch_size=3, memory_size=77, boundaries="none")
    options = {"directions": 32, "rank": 16, "ratio": 0.5}
    with Session(
        tmp_path / "home", str(folder("stories260K")), config, method="ogp_lora", options=options
    ) as session:
        made = Blueprint.of(session.home.config)
    plan = planned(made)
    assert (plan.rows, plan.memory, plan.directions, plan.frozen, plan.middle) == (6, 77, 32, 16, True)
    with pytest.raises(ConfigError, match="by er"):
        planned(replace(made, method="er"))
    told = run(str(tmp_path / "home"), "--tokens", "32", "--no-measure", "--json")
    assert json.loads(told)["peak"] is None
    assert "down_proj" not in told


def run(*words: str) -> str:
    found = CliRunner().invoke(program, ["adapters", "ledger", *words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_the_verb_tells_terms_sums_and_the_peak() -> None:
    name = str(folder("stories260K"))
    told = json.loads(run("--model", name, "--tokens", "16", "--memory", "8", "--json"))
    assert told["sum"]["device"] == sum(one["bytes"] for one in told["terms"] if one["place"] == "device")
    assert told["peak"] > 0.5 * sum(told["sum"].values())
    shown = run("--shape", "layers=1,width=64,vocabulary=100", "--tokens", "16", "--checkpointing")
    assert "one block, computed again" in shown
    assert "not measured" in shown


def test_one_thing_is_counted_at_a_time() -> None:
    for words in ([], ["--shape", "layers=1,width=64", "--model", "smollm2"]):
        found = CliRunner().invoke(program, ["adapters", "ledger", *words])
        assert found.exit_code == 2
        assert "name one" in found.output


def test_nothing_is_allocated_for_a_shape() -> None:
    """70 billion numbers, counted in less memory than one of its blocks takes."""
    shape = ledger.shaped("layers=1,width=8192,inner=28672,heads=64,kv=8,vocabulary=128256")
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        found = ledger.count(shape, replace(PLAN, precision="bfloat16"))
    moved = sum(max(event.self_cpu_memory_usage, 0) for event in profile.events() or ())
    assert moved < 2**20 < found.weights
