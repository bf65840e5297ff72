"""Sleep: what is recent is learned again under protection, nothing is dropped, and memory is put in order."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from tenuto import Batch, ConsolidationReport, Learner, OnlineLearnerConfig, trees
from tenuto.errors import ConfigError
from tenuto.methods import Recipe, Replay
from tenuto.protocols import Oracle, View
from tenuto.types import KEEP, Ruling, State, Trace, Update, Verdict
from tests.contract.checks import global_generators_are_apart, resumes_at_every_step
from tests.contract.walks import CLASSES, CONFIG, WALK, maker, normed, numbers, rows

SLEEPS: list[tuple[str, dict[str, Any]]] = [
    ("er", {"sampling": "prioritized", "sleep_distil": 1.0}),
    ("derpp", {"sampling": "uncertain", "refresh_every": 2, "model": normed}),
    ("ewc", {"refresh_every": 2, "optimizer": "adamw"}),
    ("gem", {"sleep_recent": 0.2}),
    ("mer", {"insertion": "surprise"}),
    ("gdumb", {}),
]


@pytest.mark.parametrize(("method", "settings"), SLEEPS)
def test_a_learner_that_sleeps_resumes_at_every_step(method: str, settings: dict[str, Any]) -> None:
    make = maker(method, sleep_updates=3, consolidate_every=9, **settings)
    resumes_at_every_step(make, WALK)
    global_generators_are_apart(make, WALK)


def test_numbers_are_slept_on_too() -> None:
    make = maker("er", task="regression", learning_rate=0.01, sleep_updates=3, sleep_distil=1.0)
    resumes_at_every_step(make, numbers(WALK))


def stream(batches: int, *, rare: int = 0, seed: int = 0) -> list[Batch]:
    """Batches of ten rows of two classes, or with `rare` so many rows of a third in each."""
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.randn(batches, 10, 4, generator=draws)
    targets = (inputs[..., 0] > 0).long()
    targets[:, :rare] = 2
    return [Batch(x, y) for x, y in zip(inputs, targets, strict=True)]


def learner(method: str | Recipe = "er", **settings: Any) -> Learner:
    config = {"classes": (0, 1, 2), "hidden": (16,), "learning_rate": 0.05, "memory_size": 40, **settings}
    return Learner(config=OnlineLearnerConfig(**config), method=method)


def learned(batches: list[Batch], method: str | Recipe = "er", **settings: Any) -> Learner:
    one = learner(method, **settings)
    for batch in batches:
        one.learn_batch(batch)
    return one


def held(one: Learner) -> dict[str, Tensor]:
    assert one.memory is not None
    columns = trees.detach(one.memory.table.state()["columns"])
    columns.pop("recent", None)
    return columns  # type: ignore[no-any-return]


def weights(one: Learner) -> Tensor:
    return torch.cat([p.detach().flatten() for p in one.body.params.values()])


@pytest.mark.parametrize("insertion", ["reservoir", "class_balanced", "ring", "surprise"])
def test_nothing_recent_is_dropped_and_nothing_old_either(insertion: str) -> None:
    one = learned(stream(9, rare=1), sleep_updates=20, insertion=insertion)
    assert one.memory is not None
    one.consolidate()
    for batch in stream(3, rare=1, seed=1):
        one.learn_batch(batch)
    before, recent = held(one), one.memory.recent().tolist()
    report = one.consolidate()
    assert report.recent == len(recent) > 0
    after = held(one)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert one.memory.recent().tolist() == []
    spare = one.memory.insertion.state().get("spare", [])
    assert len(spare) == report.spared
    assert not set(spare) & set(recent), "a recent row would be the first to go"


def test_the_rows_that_are_recent_are_those_since_the_last_sleep() -> None:
    one = learned(stream(2), sleep_updates=5)
    assert one.memory is not None
    assert one.consolidate().recent == 20
    for batch in stream(1, seed=1):
        one.learn_batch(batch)
    assert one.memory.recent().tolist() == list(range(20, 30))
    assert one.consolidate().recent == 10
    report = one.consolidate()
    assert (report.recent, report.updates) == (0, 0), "there is nothing to learn again"


def test_the_share_of_recent_rows_is_the_settings_whatever_the_methods_own() -> None:
    for ratio in (0.05, 0.9, None):
        config = replace(CONFIG, batch_size=1, sleep_updates=5, head="fixed", classes=CLASSES)
        one = Learner(normed(), config, method="er", options={"ratio": ratio})
        one.learn_batch(rows("abab"))
        before = one.stats.replayed
        assert one.consolidate().updates == 5
        assert one.stats.replayed - before == 15, "three replayed rows beside each recent one"


def test_a_sleep_learns() -> None:
    one = learned(stream(6), sleep_updates=60)
    before = one.steps
    report = one.consolidate()
    assert report.updates == one.steps - before == 60
    assert report.loss_before is not None
    assert report.loss_after is not None
    assert report.loss_after < report.loss_before - 0.02
    assert one.stats.examples == 60, "what is learned again is not learned anew"


def test_without_sleep_nothing_is_measured_and_nothing_marked() -> None:
    one = learned(stream(6))
    assert one.consolidate() == ConsolidationReport(number=1, parts=(), updates=0)
    assert "recent" not in one.save_state()["memory"]["table"]["columns"]


class Halves:
    """A rule, and a part that counts how often it closed its context."""

    def __init__(self) -> None:
        self.closed = 0
        self.given: list[int] = []

    def project(self, update: Update, oracle: Oracle) -> Update:
        self.given.append(oracle.group)
        return Update({name: torch.zeros_like(leaf) for name, leaf in update.tree.items()})

    def observe(self, trace: Trace) -> None: ...

    def consolidate(self, view: View) -> None:
        self.closed += 1

    def state(self) -> State:
        return {"closed": self.closed}

    def load_state(self, state: State) -> None:
        self.closed = state["closed"]


def test_every_update_of_a_sleep_passes_the_rules_of_the_method() -> None:
    rule = Halves()
    one = learned(
        stream(3), Recipe(name="held", rules=(rule,), replay=(Replay(),)), sleep_updates=7, momentum=0.9
    )
    before, asked = weights(one), len(rule.given)
    assert one.consolidate().updates == len(rule.given) - asked == 7
    assert torch.equal(weights(one), before)


def test_springs_hold_during_a_sleep() -> None:
    moved = []
    for strength in (0.0, 1e4):
        config = OnlineLearnerConfig(classes=(0, 1, 2), hidden=(16,), learning_rate=0.05, sleep_updates=30)
        one = Learner(config=config, method="ewc", options={"strength": strength})
        for seed in (0, 1):
            for batch in stream(6, seed=seed):
                one.learn_batch(Batch(batch.inputs, batch.targets if seed else 1 - batch.targets))
            before = weights(one)
            one.consolidate()
        moved.append(float((weights(one) - before).norm()))
    assert moved[1] < moved[0] / 2, moved


class Third:
    """A guard that keeps every third update."""

    def __init__(self) -> None:
        self.asked = 0

    def judge(self, trace: Trace) -> Verdict:
        self.asked += 1
        return KEEP if self.asked % 3 == 0 else Verdict(Ruling.REJECT, "not this one")

    def state(self) -> State:
        return {"asked": self.asked}

    def load_state(self, state: State) -> None:
        self.asked = state["asked"]


def test_a_guard_judges_every_update_of_a_sleep() -> None:
    one = learned(stream(6), sleep_updates=30)
    guard = one.guard = Third()
    before = one.steps
    assert one.consolidate().updates == one.steps - before == 10
    assert guard.asked == 30
    assert one.stats.refused == 0, "no row that came was refused"


def test_answers_before_a_sleep_hold_where_asked() -> None:
    moved = []
    for weight in (0.0, 20.0):
        one = learned(stream(8), sleep_updates=40, sleep_distil=weight)
        questions = stream(1, seed=9)[0].inputs
        before = one.predict_proba(questions)
        one.consolidate()
        moved.append(float((before * (before.log() - one.predict_proba(questions).log())).sum(1).mean()))
    assert moved[1] < moved[0] / 3, moved


def test_every_row_is_scored_as_it_is_answered_after_the_sleep() -> None:
    one = learned(stream(7), sleep_updates=10, sampling="prioritized")
    report = one.consolidate()
    kept = held(one)
    losses = one.task.losses(one.outputs(kept["inputs"]), kept["targets"])
    priorities = one.save_state()["memory"]["sampling"]["priorities"]
    assert report.scored == len(losses) == 40
    assert report.loss_after == pytest.approx(float(losses.mean()))
    assert torch.allclose(priorities, (losses.double() + 1e-3) ** 0.6)


def test_importance_is_measured_anew_every_nth_time() -> None:
    one = learned(stream(3), "ewc", refresh_every=3)
    parts = [one.save_state()["parts"]["penalty0"]]
    for _ in range(4):
        one.learn_batch(stream(1, seed=4)[0])
        report = one.consolidate()
        parts.append(one.save_state()["parts"]["penalty0"])
        assert report.parts == (("penalty0",) if report.number == 3 else ())
    digests = [trees.digest(part) for part in parts]
    assert digests[0] == digests[1] == digests[2] != digests[3] == digests[4]


def test_an_uneven_memory_is_levelled_as_new_rows_come() -> None:
    kept = {0: 0, 1: 0}
    for updates, seed in product(kept, range(3)):
        one, spared = learner(sleep_updates=updates, seed=seed), 0
        assert one.memory is not None
        for batch in stream(90, rare=1, seed=seed):
            one.learn_batch(batch)
            if one.memory.seen % 50 == 0:
                before = one.memory.groups()
                spared += one.consolidate().spared
                assert one.memory.groups() == before, "nothing goes before a new row comes for it"
        assert (spared > 0) is (updates > 0)
        kept[updates] += one.memory.groups()[2]
    assert kept[1] > 1.5 * kept[0], kept


def test_a_method_that_holds_no_row_cannot_sleep_on_any() -> None:
    for method in ("naive", "lwf", "slda"):
        with pytest.raises(ConfigError, match=f"'{method}' keeps no row to sleep on"):
            learner(method, sleep_updates=5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("sleep_updates", -1), ("sleep_recent", 0.0), ("sleep_distil", -1.0), ("refresh_every", 0)],
)
def test_bad_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        learner(**{name: value})


def test_a_drift_and_a_count_in_one_batch_close_the_context_once() -> None:
    part = Halves()
    recipe = Recipe(name="held", rules=(part,), replay=(Replay(),))
    one = learner(recipe, classes=(0, 1), drift="adwin", consolidate_every=10, boundaries="none")
    found = 0
    for step, batch in enumerate(stream(240), start=1):
        targets = batch.targets if step <= 120 else 1 - batch.targets
        found += bool(one.learn_batch(Batch(batch.inputs, targets)).drifts)
        assert part.closed == one.stats.consolidations == step
    assert found, "no drift was found"
