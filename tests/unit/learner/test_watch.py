"""The watch: a drift is found in how fresh rows are answered, and answered as the settings say."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import pytest
import torch

from tenuto import Batch, Learner, OnlineLearnerConfig, ReplayBuffer, Session, open_stream, trees
from tenuto.errors import ConfigError, StateError
from tests.contract.checks import resumes_at_every_step
from tests.contract.walks import WALK, maker, numbers

ANSWERS: list[dict[str, Any]] = [
    {"drift": "adwin", "drift_on": "loss"},
    {"drift": "page_hinkley", "drift_answers": ("passes", "replay"), "drift_steps": 2},
    {"drift": "kl+adwin", "drift_answers": ()},
    {"drift": "page_hinkley", "drift_on": "loss", "drift_answers": ("renew", "passes")},
    {"drift": "projected", "drift_on": "inputs"},
]


def stream(steps: int) -> list[Batch]:
    """Two classes told apart by one feature, whose meaning turns over in the middle."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(steps, 8, 4, generator=draws)
    sides = (inputs[..., 0] > 0).long()
    sides[steps // 2 :] = 1 - sides[steps // 2 :]
    return [Batch(x, y) for x, y in zip(inputs, sides, strict=True)]


def learner(**settings: Any) -> Learner:
    torch.manual_seed(0)
    config = OnlineLearnerConfig(classes=(0, 1), learning_rate=0.1, memory_size=40, **settings)
    return Learner(torch.nn.Linear(4, 2), config, method=settings.pop("method", "er"))


@pytest.mark.parametrize("settings", ANSWERS)
@pytest.mark.parametrize("method", ["er", "ewc"])
def test_a_watched_learner_resumes_at_every_step(method: str, settings: dict[str, Any]) -> None:
    resumes_at_every_step(maker(method, **settings), WALK)
    resumes_at_every_step(maker(method, task="regression", learning_rate=0.01, **settings), numbers(WALK))


@pytest.mark.parametrize("detector", ["adwin", "ddm", "page_hinkley"])
def test_a_stream_that_turns_over_is_found_out(detector: str) -> None:
    watched = learner(drift=detector)
    found = [step for step, batch in enumerate(stream(240)) if watched.learn_batch(batch).drifts]
    assert found, "nothing was found"
    assert 120 <= found[0] < 170 or detector == "ddm", found
    assert watched.stats.consolidations == len(found)


def test_inputs_that_move_are_found_where_answers_stay_right() -> None:
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 8, 4, generator=draws)
    inputs[200:, :, 3] += 3.0
    batches = [Batch(x, (x[:, 0] > 0).long()) for x in inputs]
    found: dict[str, list[int]] = {}
    for detector, reading in (("projected", "inputs"), ("adwin", "error")):
        watched = learner(drift=detector, drift_on=reading)
        found[reading] = [step for step, batch in enumerate(batches) if watched.learn_batch(batch).drifts]
    assert found["inputs"]
    assert 200 <= found["inputs"][0] < 240
    assert not found["error"]


def test_answers_grow_uncertain_where_inputs_leave_what_was_learned() -> None:
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 8, 4, generator=draws)
    inputs[200:, :, 0] *= 0.02
    watched = learner(drift="adwin", drift_on="uncertainty", drift_answers=())
    found = [
        step for step, x in enumerate(inputs) if watched.learn_batch(Batch(x, (x[:, 0] > 0).long())).drifts
    ]
    assert found
    assert 200 <= found[0] < 230


def test_answers_last_as_long_as_they_should() -> None:
    watched = learner(drift="adwin", drift_answers=("passes", "replay"), drift_steps=3)
    steps, replayed = [], []
    first = None
    for number, batch in enumerate(stream(240)):
        before, rows = watched.steps, watched.stats.replayed
        if watched.learn_batch(batch).drifts and first is None:
            first = number
        steps.append(watched.steps - before)
        replayed.append((watched.stats.replayed - rows) // steps[-1])
    assert first is not None
    assert steps[first : first + 5] == [1, 3, 3, 3, 1]
    assert replayed[first : first + 5] == [8, 24, 24, 24, 8]


def written(folder: Path) -> Path:
    """The stream as a file."""
    path = folder / "rows.jsonl"
    rows = [
        {"input": x.tolist(), "target": int(y)}
        for batch in stream(240)
        for x, y in zip(batch.inputs, batch.targets, strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("answer", ["consolidate", "renew"])
def test_what_was_found_is_in_the_ledger(tmp_path: Path, answer: str) -> None:
    config = OnlineLearnerConfig(
        classes=(0, 1),
        learning_rate=0.1,
        drift="adwin",
        drift_answers=(answer,),
        batch_size=8,
        memory_size=900,
    )
    with Session(tmp_path / "home", config=config, settings={"snapshot_every": 50}) as session:
        session.learn(open_stream(written(tmp_path)))
        verdicts, steps = session.home.ledger.verdicts(), list(session.home.ledger.steps())
        digest, held = session.learner.digest(), session.fold.memory
    assert verdicts["drift: adwin"] >= 1
    assert sum(verdicts.values()) == len(steps) == 240
    found = [step.first_seq for step in steps if step.verdict != "keep"]
    assert min(held.values()) > found[-1] if answer == "renew" else min(held.values()) < found[0]
    with Session(tmp_path / "home") as session:
        assert session.learner.digest() == digest
        assert session.home.ledger.memory() == held


def test_replayed_rows_are_told_by_what_lay_in_their_slots_then(tmp_path: Path) -> None:
    """A slot that is replayed and overwritten in one step held an earlier row when it was replayed."""
    config = OnlineLearnerConfig(classes=(0, 1), batch_size=8, memory_size=2, insertion="fifo")
    with Session(tmp_path / "home", config=config) as session:
        session.learn(open_stream(written(tmp_path)))
        steps = list(session.home.ledger.steps())
    assert any(step.replayed for step in steps)
    for step in steps:
        assert all(seq < step.first_seq for seq in array("q", step.replayed))


def test_a_memory_that_is_cleared_is_as_new() -> None:
    one, other = (ReplayBuffer(capacity=3, insertion="class_balanced", seed=1) for _ in range(2))
    rows = {"inputs": torch.arange(8.0)[:, None], "targets": torch.arange(8) % 2}
    one.add(rows["targets"], rows)
    one.clear()
    assert len(one) == 0
    for memory in (one, other):
        memory.add(rows["targets"].flip(0), {name: column.flip(0) for name, column in rows.items()})
    assert trees.digest(one.state()) == trees.digest(other.state())


def test_a_state_of_a_learner_that_watches_otherwise_is_refused() -> None:
    watched, plain = learner(drift="adwin"), learner()
    for one in (watched, plain):
        one.learn_batch(stream(2)[0])
    with pytest.raises(StateError, match="watch"):
        plain.load_state(watched.save_state())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"drift": "adwim"}, "adwin"),
        ({"drift": "ddm", "drift_on": "loss"}, "ddm reads errors, not a row's loss"),
        ({"drift": "projected"}, "projected reads vectors"),
        ({"drift": "kl", "drift_on": "inputs"}, "kl reads numbers, not a row's inputs"),
        ({"drift": "kl", "drift_on": "uncertainty", "task": "regression"}, "no meaning under regression"),
        ({"drift": "adwin+adwin"}, "twice"),
        ({"drift_answers": ("sleep",)}, "consolidate, renew, passes, replay"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        learner(**settings)
