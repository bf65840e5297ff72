"""The watch: a drift is found in how fresh rows are answered, and answered as the settings say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tenuto import Batch, Learner, OnlineLearnerConfig, Session, open_stream
from tenuto.errors import ConfigError, StateError
from tests.contract.checks import resumes_at_every_step
from tests.contract.walks import WALK, maker, numbers

ANSWERS: list[dict[str, Any]] = [
    {"drift": "adwin", "drift_on": "loss"},
    {"drift": "page_hinkley", "drift_answers": ("passes", "replay"), "drift_steps": 2},
    {"drift": "kl", "drift_answers": ()},
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


def test_what_was_found_is_in_the_ledger(tmp_path: Path) -> None:
    rows = [
        {"input": x.tolist(), "target": int(y)}
        for batch in stream(240)
        for x, y in zip(batch.inputs, batch.targets, strict=True)
    ]
    config = OnlineLearnerConfig(classes=(0, 1), learning_rate=0.1, drift="adwin", batch_size=8)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Session(tmp_path / "home", config=config) as session:
        session.learn(open_stream(path))
        verdicts = session.home.ledger.verdicts()
    assert verdicts["drift: adwin"] >= 1
    assert sum(verdicts.values()) == 240


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
        ({"drift_answers": ("sleep",)}, "consolidate, passes, replay"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        learner(**settings)
