"""A convicted sender's rows leave memory, and the home knows of every other row which entry it came from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.guarded import BATCH, mixed
from benchmarks.guarded import learner as guarded
from tenuto import Batch, OnlineLearnerConfig, Session, guards, open_stream
from tenuto.streams.encoding import decode


def poisoned(count: int) -> tuple[torch.Tensor, list[int], list[str]]:
    """Rows of three senders, one of whom turns after a third of them and labels rows wrongly."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 3, generator=draws)
    senders = [["ann", "bob", "mallory"][i % 3] for i in range(count)]
    wrong = [i > count // 3 and who == "mallory" for i, who in enumerate(senders)]
    labels = [int(row[0] > 0) ^ flipped for row, flipped in zip(inputs, wrong, strict=True)]
    return inputs, labels, senders


def written(path: Path, count: int) -> Path:
    """Those rows as a file."""
    lines = [
        json.dumps({"id": f"r{i}", "input": row.tolist(), "target": label, "principal": who})
        for i, (row, label, who) in enumerate(zip(*poisoned(count), strict=True))
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_after_conviction_no_row_of_the_sender_is_remembered() -> None:
    """On the guards' own stream, with enough poison before there is evidence."""
    rows = mixed(0, 3000)
    student = guarded(0, "finite")
    student.guard = guards.load("finite+poisoning")
    assert student.memory is not None
    left = 0
    for step in range(300):
        part = slice(step * BATCH, (step + 1) * BATCH)
        senders = ["ann", "bob", "cat", "dan", "eve"] * 2
        labels = rows.labels[part].clone()
        if step >= 60:
            labels[4::5] = (labels[4::5] + 1) % 10
        before = len(student.memory.beside.slots("principal", ["eve"]))
        trace = student.learn_batch(Batch(rows.inputs[part], labels.tolist(), principals=senders))
        held = len(student.memory.beside.slots("principal", ["eve"]))
        if trace.evicted:
            assert left == 0
            left = trace.evicted
            assert left >= before - 8
        assert held == 0 or not left
    assert left > 20
    assert len(student.memory) == 500


@pytest.mark.parametrize(
    "settings",
    [
        {"guard": "finite+poisoning"},
        {"guard": "finite+poisoning", "memory_keep": "principal:0.2+age:300", "insertion": "ring"},
        {"memory_keep": "age:40", "memory_bytes": 3000, "insertion": "class_balanced"},
        {"memory_keep": "age:40", "drift": "ddm", "drift_answers": ("renew",), "insertion": "fifo"},
    ],
    ids=["guard", "both", "rules", "renewed"],
)
def test_every_remembered_row_is_that_of_its_entry(tmp_path: Path, settings: dict[str, object]) -> None:
    path = written(tmp_path / "rows.jsonl", 480)
    config = OnlineLearnerConfig.of(
        {"classes": (0, 1), "learning_rate": 0.5, "batch_size": 6, "memory_size": 60, **settings}
    )
    with Session(tmp_path / "home", config=config, settings={"commit_every": 7}) as session:
        session.learn(open_stream(path))
        _agrees(session)
        verdicts, digest = session.home.ledger.verdicts(), session.learner.digest()
    assert any("left memory" in verdict for verdict in verdicts) == ("guard" in settings)
    with Session(tmp_path / "home") as session:
        assert session.learner.digest() == digest
        _agrees(session)
        if "guard" in settings:
            assert session.learner.memory is not None
            assert not session.learner.memory.beside.slots("principal", ["mallory"])
        forgotten = session.forget(principal="ann")
        assert forgotten.entries > 0
        _agrees(session)


def _agrees(session: Session) -> None:
    memory = session.learner.memory
    assert memory is not None
    held = session.fold.memory
    assert session.home.ledger.memory() == held
    assert list(held) == list(range(len(memory)))
    for slot, entry in zip(held, session.home.journal.fetch(held.values()), strict=True):
        example = decode(entry.body or b"")
        assert memory.table.columns["inputs"][slot].tolist() == list(example.input)


def test_a_session_recalls_with_the_ids_of_entries(tmp_path: Path) -> None:
    inputs, _, _ = poisoned(120)
    with Session(tmp_path / "home", config={"memory_size": 50, "memory_keep": "age:60"}) as session:
        session.learn(open_stream(written(tmp_path / "rows.jsonl", 120)))
        digest = session.learner.digest()
        for answer in session.recall(inputs[80:], 3, by="inputs"):
            for episode in answer:
                assert episode.id is not None
                row = inputs[int(episode.id[1:])]
                memory = session.learner.memory
                assert memory is not None
                assert torch.equal(row, memory.table.columns["inputs"][episode.slot])
        found = session.recall(inputs[119])
        assert len(found) == 1
        assert len(found[0]) == 5
        assert session.learner.digest() == digest
