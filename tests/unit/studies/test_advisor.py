"""The advisor: every leaf of its tree can be reached, and a trial measures what it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tenuto import OnlineExample, OnlineLearnerConfig, methods
from tenuto.methods import load
from tenuto.studies.advisor import Profile, advise, compare


@pytest.mark.parametrize(
    ("profile", "method"),
    [
        (Profile(contexts=3, memory=5000, rows=8000), "joint"),
        (Profile(contexts=20, memory=200, boundaries=True, cost=5), "gem"),
        (Profile(contexts=20, memory=200, boundaries=True, cost=3), "agem"),
        (Profile(contexts=20, memory=200, boundaries=True, cost=1.2), "ewc"),
        (Profile(drifting=True), "hybrid"),
        (Profile(quick=True, cost=5), "metacl"),
        (Profile(quick=True, cost=2), "lamaml"),
        (Profile(adapters=True), "hybrid"),
        (Profile(remembers=False, boundaries=True), "ewc"),
        (Profile(remembers=False), "si"),
        (Profile(regression=True), "er"),
        (Profile(), "derpp"),
    ],
)
def test_the_tree(profile: Profile, method: str) -> None:
    assert advise(profile).method == method


def test_every_advice_can_be_followed() -> None:
    flags = itertools.product([False, True], repeat=6)
    for adapters, quick, drifting, boundaries, remembers, regression in flags:
        for contexts, cost in itertools.product((None, 3, 20), (1.0, 2.5, 6.0)):
            advice = advise(
                Profile(
                    adapters=adapters,
                    quick=quick,
                    drifting=drifting,
                    boundaries=boundaries,
                    remembers=remembers,
                    regression=regression,
                    contexts=contexts,
                    cost=cost,
                )
            )
            assert load(advice.method, advice.options).name == advice.method
            OnlineLearnerConfig.of(advice.settings)
            assert {*advice.rivals} <= {*methods.known()} - {advice.method}
            assert all(advice.reasons)
            assert remembers or adapters or quick or not load(advice.method, advice.options).replay


def rows(count: int, classes: int, *, blocks: bool) -> list[OnlineExample]:
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(classes, 8)) * 3
    labels = np.sort(draw.integers(classes, size=count)) if blocks else draw.integers(classes, size=count)
    inputs = (centres[labels] + draw.normal(size=(count, 8))).astype(np.float32)
    return [OnlineExample(input=x, target=int(y)) for x, y in zip(inputs, labels, strict=True)]


def test_what_the_head_of_a_stream_shows() -> None:
    assert Profile().seen(rows(300, 5, blocks=True)).blocks
    assert not Profile().seen(rows(300, 5, blocks=False)).blocks
    assert Profile().seen([OnlineExample(input=[0.0], target=0.5)] * 10).regression
    named = [OnlineExample(input=[0.0], target=1, domain=f"d{i % 3}") for i in range(9)]
    assert [Profile().seen(named).contexts, Profile().seen(named).boundaries] == [3, True]


def test_a_trial_tells_who_forgets() -> None:
    config = OnlineLearnerConfig(learning_rate=0.1, memory_size=100, hidden=(32,))
    told: list[str] = []
    scores = compare(
        rows(1500, 5, blocks=True),
        {"naive": {}, "er": {}},
        config,
        lambda method, done, total: told.append(f"{method} {done}/{total}"),
    )
    assert [score.method for score in scores] == ["er", "naive"]
    assert scores[0].accuracy > scores[1].accuracy + 0.1
    assert scores[0].cost > 0
    assert told[-1] == "er 1200/1200"


def test_a_trial_on_numbers() -> None:
    draw = np.random.default_rng(1)
    inputs = draw.normal(size=(600, 4)).astype(np.float32)
    head = [OnlineExample(input=x, target=float(x.sum())) for x in inputs]
    config = OnlineLearnerConfig(task="regression", learning_rate=0.02, hidden=(32,))
    [score] = compare(head, {"er": {}}, config)
    assert 0.5 < score.accuracy <= 1.0
    assert score.progressive is None
