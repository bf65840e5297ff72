"""Streams as the world sends them: labels that contradict, a domain or a value never seen, a class that
goes away, a clock that jumps, a sender who sends nearly all of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from tenuto import Batch, Learner, OnlineExample, OnlineLearnerConfig, Session, drift, methods
from tenuto.session import recovery

SIZE: dict[str, Any] = {"hidden": (8,), "memory_size": 20, "batch_size": 10, "learning_rate": 0.05}
CENTRES = 3.0 * torch.eye(8)


def around(labels: torch.Tensor, seed: int, noise: float = 0.7) -> torch.Tensor:
    """A row (n, 8) near the centre of each label."""
    draws = torch.Generator().manual_seed(seed)
    return CENTRES[labels] + noise * torch.randn(len(labels), 8, generator=draws)


def numbers(state: Any) -> Iterator[float]:
    """Every number of a state."""
    if isinstance(state, dict):
        state = list(state.values())
    if isinstance(state, list):
        for one in state:
            yield from numbers(one)
    elif isinstance(state, torch.Tensor):
        yield from state.double().flatten().tolist()
    elif isinstance(state, int | float):
        yield float(state)


# Labels that contradict -------------------------------------------------------------------------


def test_the_same_input_with_another_label_is_one_more_opinion(tmp_path: Path) -> None:
    x = np.array([0.3, 1.0], np.float32)
    with Session(tmp_path, config={**SIZE, "classes": (0, 1), "sampling": "prioritized"}, method="er") as s:
        receipt = s.ingest([OnlineExample(input=x, target=n % 2, id=f"r{n}") for n in range(400)])
        s.flush()
        assert (receipt.accepted, receipt.quarantined, s.learner.stats.refused) == (400, 0, 0)
        chances = s.predict([x]).probabilities
        assert chances is not None
        assert chances[0].tolist() == pytest.approx([0.5, 0.5], abs=0.1)


def test_a_correction_takes_the_place_of_what_it_contradicts(tmp_path: Path) -> None:
    """An id with another label is set apart; forgotten and sent anew under another id it is learned."""
    rows = [OnlineExample(input=[n / 10, 1.0], target=n % 2, id=f"r{n}") for n in range(20)]
    wrong = msgspec.structs.replace(rows[7], target=0)
    right = msgspec.structs.replace(rows[7], id="r7-corrected")
    with Session(tmp_path / "a", config=SIZE, method="er") as s:
        s.ingest([*rows[:7], wrong, *rows[8:]])
        s.flush()
        assert s.ingest([rows[7]]).quarantined == 1
        s.ingest([right])
        s.flush()
        assert s.forget(id="r7").quarantined == 1
        corrected = s.learner.digest()
    with Session(tmp_path / "b", config=SIZE, method="er") as s:
        s.ingest([*rows[:7], *rows[8:]])
        s.flush()
        s.ingest([right])
        s.flush()
        assert s.learner.digest() == corrected


# What was never seen ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["er", "hybrid", "gem", "lwf"])
def test_a_domain_never_seen_opens_a_context_and_costs_nothing_else(tmp_path: Path, method: str) -> None:
    labels = torch.arange(200) % 4
    inputs = around(labels, 1).numpy()
    domains = ["a"] * 80 + ["b"] * 60 + ["never seen"] * 30 + [None] * 10 + ["a"] * 20
    rows = [
        OnlineExample(input=inputs[n], target=int(labels[n]), id=f"r{n}", domain=domains[n])
        for n in range(200)
    ]
    with Session(tmp_path, config={**SIZE, "memory_size": 100}, method=method) as s:
        assert s.ingest(rows).accepted == 200
        s.flush()
        assert s.learner.stats.examples == 200
        assert s.learner.stats.domains == {"a": 100, "b": 60, "never seen": 30}
        assert s.learner.oracle.group == (0 if method == "er" else 3)
        assert recovery.verify(s.home, s._make).holds


# A constant feature -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", methods.known(plain=True))
def test_constant_features_make_no_number_that_is_none(method: str) -> None:
    """One feature never changes, two are always 0; then no feature changes, or all are 0."""
    for still in ([1, 5, 6], [*range(8)], []):
        learner = Learner(config=OnlineLearnerConfig.of(SIZE), method=method)
        for step in range(9):
            labels = (torch.arange(10) + step) % 3
            inputs = around(labels, step)
            inputs[:, still] = torch.tensor([4321.987 if column == 1 else 0.0 for column in still])
            if not still:
                inputs = inputs * 0 + 98765.43
            trace = learner.learn_batch(Batch(inputs, labels, domains=[f"d{step // 3}"] * 10))
            assert trace.verdict.keeps
        learner.consolidate()
        assert learner.predict(inputs).outputs.isfinite().all()
        assert all(math.isfinite(number) for number in numbers(learner.save_state()))


@pytest.mark.parametrize("value", [0.0, 1.0, 98765.43])
@pytest.mark.parametrize("name", drift.known())
def test_detectors_find_no_drift_in_what_never_changes(name: str, value: float) -> None:
    detector = drift.load(name)
    if detector.reads == "errors":
        value = min(value, 1.0)
    reading: Any = [value] * 4 if detector.reads == "vectors" else value
    assert not any(detector.update(reading) for _ in range(3000))
    assert all(math.isfinite(number) for number in numbers(detector.state()))


# A class that goes away -------------------------------------------------------------------------


def vanishing(rows: int) -> tuple[float, float, Counter[int], Counter[int]]:
    """Accuracy on a class, and remembered rows by class, when it goes away and so many rows later."""
    gone, size = 5, 60
    config = OnlineLearnerConfig(
        hidden=(16,),
        memory_size=size,
        batch_size=50,
        learning_rate=0.05,
        insertion="class_balanced",
        classes=tuple(range(6)),
    )
    learner = Learner(config=config, method="er")
    test = around(torch.full((300,), gone), seed=10**6)

    def right() -> float:
        return learner.predict(test).labels.count(gone) / len(test)

    def teach(first: int, last: int, classes: int) -> None:
        for start in range(first, last, 50):
            labels = torch.randint(0, classes, (50,), generator=torch.Generator().manual_seed(start))
            learner.learn_batch(Batch(around(labels, start), labels))

    def held() -> Counter[int]:
        assert learner.memory is not None
        return Counter(dict(learner.memory.groups()))

    teach(0, 3000, 6)
    before, kept = right(), held()
    teach(3000, 3000 + rows, 5)
    return before, right(), kept, held()


@pytest.mark.parametrize("rows", [10_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_a_class_that_goes_away_is_remembered_and_known(rows: int) -> None:
    before, after, kept, held = vanishing(rows)
    assert before > 0.9
    assert after > 0.9
    assert kept == held == Counter(dict.fromkeys(range(6), 10))


# A sender of nearly all -------------------------------------------------------------------------


def sent(rows: int) -> list[OnlineExample]:
    """Nine in ten rows are of one sender; two others send the rest, alike, but for a liar's few."""
    draws = np.random.default_rng(5)
    labels = torch.from_numpy(draws.integers(0, 4, rows))
    inputs = around(labels, 3, noise=1.0).numpy()
    senders = [("most", "p", "q", "liar")[n] for n in draws.choice(4, rows, p=(0.9, 0.04, 0.04, 0.02))]
    return [
        OnlineExample(
            input=inputs[n],
            target=(int(labels[n]) + (sender == "liar")) % 4,
            id=f"r{n}",
            principal=sender,
        )
        for n, sender in enumerate(senders)
    ]


@pytest.mark.parametrize(("keep", "most"), [(None, (0.8, 0.98)), ("principal:0.5", (0.4, 0.5))])
def test_who_sends_nearly_all_is_heard_and_holds_no_more_of_memory_than_allowed(
    tmp_path: Path, keep: str | None, most: tuple[float, float]
) -> None:
    guard = "finite+divergence+norm_budget+bounds+poisoning"
    config = {**SIZE, "memory_size": 200, "memory_keep": keep, "guard": guard}
    rows = sent(3000)
    lies = sum(row.principal == "liar" for row in rows)
    with Session(tmp_path, config=config, method="er") as s:
        s.ingest(rows)
        s.flush()
        refused = s.learner.stats.refused
        assert s.learner.stats.examples + refused == len(rows)
        assert 0.5 * lies < refused <= lies + 0.01 * (len(rows) - lies)
        assert s.learner.guard.state()["poisoning"]["convicted"] == ["liar"]
        held = s.home.journal.tally(s.fold.memory.values(), by="principal")
        assert sum(held.values()) == 200
        assert most[0] <= held["most"] / 200 <= most[1]


# A clock that jumps -----------------------------------------------------------------------------


def test_no_clock_reaches_the_learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years ahead, back before the epoch, ahead again: entries bear odd times, the learner is the same."""
    rows = sent(90)
    digests: list[str] = []
    for jumps in ([0.0, 0.0, 0.0], [4e9, -1e6, 2e9]):
        with Session(tmp_path / str(len(digests)), config=SIZE, method="er") as s:
            for part, jump in enumerate(jumps):
                if jump:
                    monkeypatch.setattr("time.time", lambda now=jump: now)
                s.ingest(rows[30 * part : 30 * part + 30])
                s.flush()
                s.snapshot()
            digests.append(s.learner.digest())
        with Session(tmp_path / str(len(digests) - 1)) as s:
            assert s.learner.digest() == digests[-1]
            assert recovery.verify(s.home, s._make).holds
    assert digests[0] == digests[1]
