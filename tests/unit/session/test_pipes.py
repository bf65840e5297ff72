"""What comes through a pipe goes on where the pipe before it ended."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tenuto import Session, open_stream


def send(session: Session, pipe: Path, text: str) -> int:
    """Learn rows that another thread writes into a pipe."""
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    try:
        return session.learn(open_stream(pipe))
    finally:
        writer.join()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    os.mkfifo(path)
    return path


def test_rows_without_ids_are_numbered_on_from_pipe_to_pipe(pipe: Path, tmp_path: Path) -> None:
    with Session(tmp_path / "home") as session:
        for day in (1, 2):
            text = "".join(f'{{"input": [{day}, {i}], "target": {i % 2}}}\n' for i in range(30))
            assert send(session, pipe, text) == 30
        assert session.home.journal.counts()["quarantined"] == 0
        assert session.learner.stats.examples == 60
        assert [entry.id for entry in session.home.journal.examples(limit=3)] == [
            f"rows.jsonl:{i}" for i in range(3)
        ]
        assert session.home.journal.lookup("rows.jsonl:59") is not None


def test_ids_of_ones_own_are_learned_once_whatever_pipe_brings_them(pipe: Path, tmp_path: Path) -> None:
    with Session(tmp_path / "home") as session:
        for _ in range(2):
            text = "".join(f'{{"id": "r{i}", "input": [{i}], "target": {i % 2}}}\n' for i in range(30))
            send(session, pipe, text)
        assert session.learner.stats.examples == 30
        assert session.home.journal.counts()["duplicates"] == 30


def test_a_silent_pipe_says_so_and_loses_nothing(pipe: Path, tmp_path: Path) -> None:
    lines = [f'{{"input": [{i}], "target": {i % 2}}}\n' for i in range(40)]
    text = "".join(lines)
    cut = len("".join(lines[:20])) + 9

    def write() -> None:
        with pipe.open("w") as file:
            for part in (text[:cut], text[cut:]):
                file.write(part)
                file.flush()
                time.sleep(0.3)

    writer = threading.Thread(target=write)
    writer.start()
    sizes = []
    with Session(tmp_path / "home") as session:
        read = session.learn(open_stream(pipe, pulse=0.05), on_progress=lambda p: sizes.append(p.rows))
        assert read == session.learner.stats.examples == 40
        assert session.home.journal.counts()["quarantined"] == 0
    writer.join()
    assert sizes[0] == 20
    assert sizes.count(20) > 2, "nothing was said while the pipe was silent"
    assert sizes[-1] == 40


def test_a_pipe_without_a_pulse_waits(pipe: Path) -> None:
    writer = threading.Thread(target=pipe.write_text, args=('{"input": [1], "target": 0}\n' * 3,))
    writer.start()
    chunks = [len(chunk) for chunk in open_stream(pipe).chunks()]
    writer.join()
    assert chunks == [3]
