"""Each context has an adapter: a closed one answers as it did, and each row is answered by its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tenuto import Batch, Learner, OnlineExample, OnlineLearnerConfig, Session, SessionConfig, trees
from tenuto.errors import ConfigError
from tenuto.session import recovery
from tenuto.studies.distil import distil
from tests import language
from tests.contract.test_adapters import banked
from tests.unit.adapters.test_language import CONFIG as TALK

CONFIG = OnlineLearnerConfig(learning_rate=0.1, hidden=(16,), memory_size=60)
CENTRES = {"ab": 0.6, "cd": -0.6, "ef": 1.8}


def rows(labels: str, n: int = 8, *, seed: int = 0, **beside: Any) -> Batch:
    """Two classes, apart in one feature; each pair of them has a place of its own."""
    draws = torch.Generator().manual_seed(seed)
    targets = [labels[i % 2] for i in range(n)]
    inputs = 0.1 * torch.randn(n, 4, generator=draws) + CENTRES[labels]
    inputs[:, 0] += torch.tensor([-0.5, 0.5]).repeat(n // 2)
    return Batch(inputs, targets, **beside)


def taught(learner: Learner, *contexts: str) -> Learner:
    """The learner after these contexts, each named by its domain."""
    for context in contexts:
        for seed in range(40):
            learner.learn_batch(rows(context, seed=seed, domains=[context] * 8))
    return learner


MODELS = {"plain": lambda: None, "bank": lambda: banked(2)}


def made(kind: str, **options: Any) -> Learner:
    return Learner(MODELS[kind](), CONFIG, method="progressive", options=options)


@pytest.mark.parametrize("kind", MODELS)
def test_a_mixed_batch_is_answered_row_by_row_and_nothing_is_forgotten(kind: str) -> None:
    learner = taught(made(kind), *CENTRES)
    assert learner.adapters is not None
    assert learner.adapters.names == ["ab", "cd", "ef"]
    parts = [rows(context, 200, seed=99 + number) for number, context in enumerate(CENTRES)]
    order = torch.randperm(600, generator=torch.Generator().manual_seed(0))
    inputs = torch.cat([part.inputs for part in parts])[order]
    wanted = [label for part in parts for label in part.targets]
    answers = learner.predict(inputs).labels
    assert sum(answer == wanted[n] for n, answer in zip(order, answers, strict=True)) > 590
    routed = learner.route(inputs)
    names = [context for context in CENTRES for _ in range(200)]
    told = [name for name, n in zip(routed, order, strict=True) if name == names[n]]
    assert 530 < len(told) < 590
    assert sum(name is None for name in routed) >= 595 - len(told)
    assert set(learner.route(torch.full((2, 4), -9.0))) == {None}


@pytest.mark.parametrize("kind", MODELS)
def test_what_a_closed_context_answers_does_not_move_by_a_bit(kind: str) -> None:
    learner = taught(made(kind), "ab")
    asked = rows("ab", 40, seed=7).inputs
    before = learner.outputs(asked)
    taught(learner, "cd", "ef")
    after = learner.outputs(asked)
    assert torch.equal(after[:, :2], before)
    assert torch.equal(after[:, 2:], before.amin(1, keepdim=True).expand(-1, 4))


@pytest.mark.parametrize("kind", MODELS)
def test_with_as_many_adapters_as_allowed_the_last_goes_on(kind: str) -> None:
    learner = taught(made(kind, most=2), *CENTRES)
    assert learner.adapters is not None
    assert learner.adapters.names == ["ab", "cd"]
    assert learner.predict(rows("ef", 20, seed=5).inputs).labels == ["e", "f"] * 10


def test_contexts_that_nothing_was_learned_in_make_no_adapter() -> None:
    learner = made("bank")
    learner.consolidate()
    taught(learner, "ab")
    learner.consolidate()
    learner.consolidate()
    assert learner.adapters is not None
    assert learner.adapters.names == ["ab"]
    learner.learn_batch(rows("cd"))
    learner.consolidate()
    learner.learn_batch(rows("ab", domains=["Über"] * 8))
    assert learner.adapters.names == ["ab", "context-2", "context-3"]


def test_a_refused_row_begins_no_adapter() -> None:
    learner = taught(made("bank"), "ab")
    learner.consolidate()
    before = learner.digest()
    huge = rows("cd", weights=torch.full((8,), 3e38), domains=["cd"] * 8)
    assert not learner.learn_batch(huge).verdict.keeps
    state = learner.save_state()
    state["counters"]["refused"] = 0
    assert trees.digest(state) == before


def test_a_retired_adapter_answers_no_row_and_stays_retired() -> None:
    learner = taught(made("bank"), *CENTRES)
    assert learner.adapters is not None
    with pytest.raises(ConfigError, match="those are: ab, cd"):
        learner.adapters.retire("ef")
    asked = rows("ab", 40, seed=5).inputs
    assert learner.route(asked).count("ab") > 30
    learner.adapters.retire("ab")
    resumed = made("bank")
    resumed.load_state(learner.save_state())
    for one in (learner, resumed):
        assert one.adapters is not None
        assert one.adapters.bank is not None
        assert "ab" not in one.route(asked)
        assert set(one.predict(asked).labels) <= set("cdef")
        assert one.adapters.bank.status == {"ab": "retired", "cd": "frozen", "ef": "active"}


def test_a_domain_may_be_called_as_the_first_adapter_is() -> None:
    learner = Learner(banked(2), CONFIG, method="progressive")
    huge = rows("ab", weights=torch.full((8,), 3e38), domains=["first"] * 8)
    assert not learner.learn_batch(huge).verdict.keeps
    learner.learn_batch(rows("ab", domains=["first"] * 8))
    assert learner.adapters is not None
    assert learner.adapters.names == ["first"]


def test_it_refuses_to_sleep_and_others_to_route() -> None:
    with pytest.raises(ConfigError, match="do not sleep"):
        Learner(config=replace(CONFIG, sleep_updates=4), method="progressive")
    with pytest.raises(ConfigError, match="no router; take progressive"):
        Learner(config=CONFIG).route([[0.0]])


def test_a_language_model_answers_from_the_adapter_that_learned_and_else_as_its_base() -> None:
    """Two domains of the tiny Llama: each fact is known through the router, a strange text is the base's."""
    learner = Learner(language.model(), TALK, method="progressive", options={"wrong": 0.2})
    facts = language.rows()
    for fact in facts:
        for _ in range(40):
            learner.learn_one(fact)
        learner.consolidate()
    assert learner.adapters is not None
    assert learner.adapters.falls_back
    inputs = torch.cat([language.inputs(fact) for fact in facts])
    assert learner.route(inputs) == ["context-1", "context-2", "context-3"]
    targets = learner.task.encode([fact.target for fact in facts])
    assert learner.task.right(learner.outputs(inputs), targets) == [True] * 3
    strange = language.row("zzz QQQ 999 ;;; {{{ xyzzy", " no")
    assert learner.route(language.inputs(strange)) == [None]
    bare = language.model()
    with torch.no_grad(), bare.base.disable_adapter():
        assert torch.equal(learner.outputs(language.inputs(strange)), bare(language.inputs(strange)))
    saved = learner.save_state()["model"]
    assert all("lora_" in name for name in saved)
    assert {name.split(".")[-2] for name in saved} == {"context-1", "context-2", "context-3"}
    resumed = Learner(language.model(), TALK, method="progressive", options={"wrong": 0.2})
    resumed.load_state(learner.save_state())
    for one in (learner, resumed):
        one.learn_one(facts[0])
    assert one.digest() == learner.digest()


def test_a_session_with_adapters_comes_back_and_can_be_verified(tmp_path: Path) -> None:
    rows_of = [
        OnlineExample(input=one, target=target, domain=context, id=f"{context}-{seed}-{n}")
        for context in ("ab", "cd")
        for seed in range(4)
        for n, (one, target) in enumerate(zip(*_pairs(context, seed), strict=True))
    ]
    often, config = SessionConfig(commit_every=2, snapshot_every=3), replace(CONFIG, batch_size=8)
    for part in (rows_of[:40], rows_of[40:]):
        with Session(tmp_path / "home", banked(2), config, method="progressive", settings=often) as session:
            session.ingest(part)
            session.run()
            assert recovery.verify(session.home, session._make).holds
    adapters = session.learner.adapters
    assert adapters is not None
    assert adapters.bank is not None
    assert adapters.bank.status == {"ab": "frozen", "cd": "active"}


def _pairs(context: str, seed: int) -> tuple[list[list[float]], list[str]]:
    batch = rows(context, seed=seed)
    return batch.inputs.tolist(), batch.targets


def test_all_adapters_are_distilled_into_one() -> None:
    """The student answers as the routed teacher does, also rows of contexts that are long closed."""
    learner = taught(made("bank"), *CENTRES)
    test = [rows(context, 100, seed=99) for context in CENTRES]
    asked = Batch(
        torch.cat([part.inputs for part in test]), [label for part in test for label in part.targets]
    )
    found = distil(learner, banked(6), test=asked, epochs=60, learning_rate=0.03)
    assert found.rows <= 60
    assert found.before.accuracy is not None
    assert found.after.accuracy is not None
    assert found.before.accuracy > 0.98
    assert found.after.accuracy > found.before.accuracy - 0.03
    assert found.before.parameters > 2 * found.after.parameters
    with pytest.raises(ConfigError, match="has 9 outputs, its teacher 6"):
        distil(learner, banked(9), test=asked)


def test_a_language_model_with_many_adapters_is_distilled_into_one() -> None:
    learner, facts = Learner(language.model(), TALK, method="progressive"), language.rows()
    for fact in facts[:2]:
        for _ in range(40):
            learner.learn_one(fact)
        learner.consolidate()
    test = Batch(torch.cat([language.inputs(fact) for fact in facts[2:]]), [facts[2].target])
    student = language.model(seed=5)
    found = distil(learner, student, test=test, epochs=60, learning_rate=0.01, batch_size=2)
    told = torch.cat([language.inputs(fact) for fact in facts[:2]])
    targets = learner.task.encode([fact.target for fact in facts[:2]])
    assert learner.task.right(found.student.outputs(told), targets) == [True, True]
    assert found.before.accuracy == found.after.accuracy == 0.0
