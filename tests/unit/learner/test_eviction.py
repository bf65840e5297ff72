"""Rows that a guard evicts: the others are learned as if those had never been in the batch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from tenuto import Batch, Learner, OnlineLearnerConfig, Session, open_stream
from tenuto.types import KEEP, Ruling, State, Trace, Verdict

CONFIG = OnlineLearnerConfig(classes=(0, 1), learning_rate=0.1, memory_size=4, replay_ratio=0.5)


class Senders:
    """A guard that evicts what one sender sent."""

    def judge(self, trace: Trace) -> Verdict:
        """Evict the rows of "mallory"."""
        senders = trace.batch.principals or ()
        rows = tuple(row for row, sender in enumerate(senders) if sender == "mallory")
        return Verdict(Ruling.EVICT, "mallory sent them", rows=rows) if rows else KEEP

    def state(self) -> State:
        """None."""
        return {}

    def load_state(self, state: State) -> None:
        """None."""


def learner() -> Learner:
    torch.manual_seed(0)
    made = Learner(torch.nn.Linear(3, 2), CONFIG, method="er")
    made.guard = Senders()
    return made


def rows(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.randn(5, 3, generator=draws)
    return inputs, (inputs[:, 0] > 0).long(), torch.rand(5, generator=draws) + 0.5


def test_the_others_are_learned_as_if_they_came_alone() -> None:
    watched, alone = learner(), learner()
    for seed in range(4):
        inputs, targets, weights = rows(seed)
        senders = ["ann", "mallory", None, "mallory", "bob"]
        stay = [0, 2, 4]
        domains = ["day", "night", "day", "night", "day"]
        trace = watched.learn_batch(Batch(inputs, targets, weights, domains, principals=senders))
        expected = alone.learn_batch(Batch(inputs[stay], targets[stay], weights[stay], ["day"] * 3))
        assert trace.left == stay
        assert trace.slots is not None
        assert expected.slots is not None
        assert [trace.slots[row] for row in stay] == expected.slots
        assert [trace.slots[1], trace.slots[3]] == [-1, -1]
        assert torch.equal(trace.estimate.outputs[:3], expected.estimate.outputs[:3])
    for name, weight in watched.model.state_dict().items():
        assert torch.equal(weight, alone.model.state_dict()[name])
    assert watched.stats == replace(alone.stats, refused=8)


def test_a_batch_with_nothing_left_changes_nothing() -> None:
    watched = learner()
    inputs, targets, _ = rows(0)
    watched.learn_batch(Batch(inputs, targets))
    before = watched.model.state_dict()["weight"].clone()
    trace = watched.learn_batch(Batch(inputs, targets, principals=["mallory"] * 5))
    assert trace.verdict.ruling is Ruling.EVICT
    assert torch.equal(watched.model.state_dict()["weight"], before)
    assert (watched.stats.refused, watched.stats.examples) == (5, 5)


def test_a_session_tells_the_guard_who_sent_a_row(tmp_path: Path) -> None:
    """Two senders are sound, a third one's labels are upside down: its rows are found and taken out."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(1500, 3, generator=draws)
    path, lines = tmp_path / "rows.jsonl", []
    for number, row in enumerate(inputs):
        sender = ["ann", "bob", "mallory"][number % 3] if number >= 600 else ["ann", "bob"][number % 2]
        target = int(row[0] > 0)
        target = 1 - target if sender == "mallory" else target
        lines.append(json.dumps({"input": row.tolist(), "target": target, "principal": sender}))
    path.write_text("\n".join(lines) + "\n")
    config = OnlineLearnerConfig(classes=(0, 1), learning_rate=0.5, guard="finite+poisoning", batch_size=6)
    with Session(tmp_path / "home", config=config) as session:
        session.learn(open_stream(path))
        learned = session.learner.stats
        verdicts = session.home.ledger.verdicts()
        digest = session.learner.digest()
    assert learned.refused > 200
    assert learned.examples + learned.refused == 1500
    assert any(verdict.startswith("evict: 2 of 6") for verdict in verdicts)
    with Session(tmp_path / "home") as session:
        assert session.learner.digest() == digest
