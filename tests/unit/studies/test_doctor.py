"""The doctor finds what was broken on purpose, and nothing in a learner that is well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tenuto import Batch, Learner, OnlineExample, OnlineLearnerConfig, Session
from tenuto.store.home import Home
from tenuto.studies.doctor import Patient, examine
from tests.contract.walks import numbers, rows

CONFIG = OnlineLearnerConfig(learning_rate=0.05, memory_size=60, hidden=(16,), batch_size=10)


def stream(steps: int, *, seed: int = 0, swap: bool = False) -> list[Batch]:
    """Batches of five classes that can be told apart; `swap`: with other labels than before."""
    found = [rows("abcde" * 2, seed=seed + i) for i in range(steps)]
    turned = dict(zip(("ant", "bee", "cow", "doe", "eel"), ("bee", "cow", "doe", "eel", "ant"), strict=True))
    return [Batch(b.inputs, [turned[t] for t in b.targets]) if swap else b for b in found]


def lived(batches: list[Batch], method: str = "er", **settings: object) -> Patient:
    options = settings.pop("options", None)
    learner = Learner(config=replace(CONFIG, **settings), method=method, options=options)
    losses = [learner.learn_batch(batch).loss for batch in batches]
    inputs = torch.cat([batch.inputs for batch in batches[-10:]])
    recent = Batch(inputs, [target for batch in batches[-10:] for target in batch.targets])
    return Patient(learner, recent, losses)


def names(patient: Patient) -> set[str]:
    before = patient.learner.digest()
    found = {finding.name for finding in examine(patient)}
    assert patient.learner.digest() == before, "looking changed the learner"
    return found


@pytest.mark.parametrize("method", ["naive", "er", "derpp"])
def test_a_learner_that_is_well_has_no_finding(method: str) -> None:
    assert names(lived(stream(250), method)) == set()


def test_a_learner_of_numbers_can_be_looked_at() -> None:
    batches = [b for b in numbers(stream(250)) if b is not None]
    learner = Learner(config=replace(CONFIG, task="regression", learning_rate=0.01))
    losses = [learner.learn_batch(batch).loss for batch in batches]
    assert names(Patient(learner, batches[-1], losses)) == set()


def test_memory_that_is_never_drawn() -> None:
    assert "memory_never_drawn" in names(lived(stream(60), replay_ratio=0.0))


def test_priorities_that_collapsed() -> None:
    patient = lived(stream(60), sampling="prioritized")
    assert "priorities_collapsed" not in names(patient)
    memory = patient.learner.memory
    assert memory is not None
    memory.seen_again(torch.arange(60), torch.zeros(60))
    memory.seen_again(torch.tensor([3]), torch.tensor([1e4]))
    assert "priorities_collapsed" in names(patient)


def test_memory_of_copies() -> None:
    assert "memory_of_copies" in names(lived(stream(1) * 60))


def test_memory_of_easy_rows() -> None:
    draw = torch.Generator().manual_seed(0)
    names_of = ["ant", "bee", "cow", "doe"]

    def plain(count: int) -> Batch:
        columns = torch.randint(0, 4, (count,), generator=draw)
        inputs = 3 * torch.eye(4)[columns] + 0.2 * torch.randn(count, 4, generator=draw)
        return Batch(inputs, [names_of[c] for c in columns.tolist()])

    patient = lived([plain(10) for _ in range(500)], learning_rate=0.2)
    assert names(patient) == set()
    far = torch.randn(100, 4, generator=draw) - 3
    strange = Batch(far, [names_of[i % 4] for i in range(100)])
    assert "memory_of_easy_rows" in names(replace(patient, recent=strange))


def test_labels_that_changed_their_meaning() -> None:
    patient = lived(stream(200))
    swapped = stream(10, seed=500, swap=True)
    other = Batch(torch.cat([b.inputs for b in swapped]), [t for b in swapped for t in b.targets])
    assert "gradients_opposed" not in names(patient)
    assert "gradients_opposed" in names(replace(patient, recent=other))


def test_protection_whose_context_never_ends() -> None:
    assert "never_consolidated" in names(lived(stream(210), "lwf"))


@pytest.mark.parametrize(
    ("strength", "finding"),
    [(1e-9, "importance_empty"), (1e9, "weights_frozen"), (1e-3, "penalty_too_weak")],
)
def test_a_strength_that_does_not_fit(strength: float, finding: str) -> None:
    learner = Learner(config=CONFIG, method="ewc", options={"strength": strength})
    for batch in stream(100):
        learner.learn_batch(batch)
    learner.consolidate()
    if strength < 1e6:
        for batch in stream(20, seed=300):
            learner.learn_batch(batch)
    assert finding in names(Patient(learner, stream(10)[-1], []))


def test_a_rate_raised_over_a_stiff_penalty() -> None:
    learner = Learner(config=CONFIG, method="ewc", options={"strength": 1e7})
    for batch in stream(100):
        learner.learn_batch(batch)
    learner.consolidate()
    assert "penalty_unstable" not in names(Patient(learner, stream(10)[-1], []))
    learner.configure({"learning_rate": 0.5})
    assert "penalty_unstable" in names(Patient(learner, stream(10)[-1], []))


def test_classes_that_are_no_longer_remembered() -> None:
    batches = [rows("ab" * 5, seed=i) for i in range(40)] + [rows("cd" * 5, seed=i) for i in range(40)]
    assert "classes_not_drawn" in names(lived(batches, insertion="fifo", memory_size=40))


def test_a_rate_that_is_too_small() -> None:
    assert "rate_too_small" in names(lived(stream(210), learning_rate=1e-7))


def test_labels_that_cannot_be_learned() -> None:
    draw = np.random.default_rng(0)
    batches = [Batch(b.inputs, list(draw.permutation(b.targets))) for b in stream(260)]
    assert "not_learning" in names(lived([Batch(b.inputs, list(map(str, b.targets))) for b in batches]))


def test_updates_that_are_refused() -> None:
    patient = lived(stream(90))
    assert "updates_refused" in names(replace(patient, refused=10))


def test_too_much_replay() -> None:
    assert "replay_share_too_large" in names(lived(stream(60), replay_ratio=0.9))


def test_memory_without_bound() -> None:
    assert "memory_unbounded" in names(lived(stream(20), "joint"))


def test_memory_with_too_little_room() -> None:
    assert "memory_too_small" in names(lived(stream(20), memory_size=12))


def test_a_journal_that_nothing_bounds() -> None:
    patient = lived(stream(20))
    assert "journal_unbounded" in names(replace(patient, used={"journal": 2**31}))
    assert "journal_unbounded" not in names(replace(patient, used={"journal": 2**31}, retention=True))


@pytest.fixture
def home(tmp_path: Path) -> Callable[..., Path]:
    def make(method: str, **config: object) -> Path:
        with Session(tmp_path / "home", config=replace(CONFIG, **config), method=method) as session:
            for i, batch in enumerate(stream(220)):
                session.ingest(
                    [
                        OnlineExample(input=x.tolist(), target=t, id=f"{i}:{n}")
                        for n, (x, t) in enumerate(zip(batch.inputs, batch.targets, strict=True))
                    ]
                )
            session.run()
        return tmp_path / "home"

    return make


def of_home(path: Path) -> set[str]:
    from tenuto.cli.shared.learning import maker

    with Home.view(path) as view:
        return names(Patient.of_home(view, maker(view)))


def test_a_home_that_is_well(home: Callable[..., Path]) -> None:
    assert of_home(home("er")) == set()


def test_a_home_broken_on_purpose(home: Callable[..., Path]) -> None:
    assert of_home(home("lwf", replay_ratio=0.9, learning_rate=1e-7)) >= {"never_consolidated"}
