"""A home at a glance agrees with what is in it, and asking never stands in a writer's way."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tenuto.store import survey
from tenuto.store.cursor import Cursor
from tenuto.store.home import Home
from tenuto.store.records import Refused, Row, Step


def home(path: Path) -> Home:
    made = Home.create(path, config={})
    made.journal.append(
        [Row(id=f"r{i}", body=b"x" * 100) for i in range(100)], source="a", offset=100, at=1.0
    )
    return made


def test_every_live_row_is_somewhere(tmp_path: Path) -> None:
    with home(tmp_path / "home") as made:
        assert survey.rows(made) == survey.Rows(learned=0, queued=100, aside=0)
        made.journal.command("flush", {})
        made.journal.erase([5, 99], reason="asked")
        cursor = Cursor(seq=50, pending=[49, 50], taken=[60, 70], aside=[[11, 20]])
        made.ledger.commit([Step(k=1, first_seq=1, last_seq=50, rows=1)], cursor=cursor.to_plain())
        found = survey.rows(made)
        assert found == survey.Rows(learned=50 - 1 - 2 - 10 + 2, queued=50 - 1 - 2 + 2, aside=10)
        assert found.learned + found.queued + found.aside == made.journal.counts()["live"]


def test_only_the_newest_steps_count(tmp_path: Path) -> None:
    with home(tmp_path / "home") as made:
        assert survey.recent(made, 10) is None
        steps = [
            Step(k=k, first_seq=k, last_seq=k, rows=1, loss=float(k), correct=k % 2) for k in range(1, 51)
        ]
        made.ledger.commit(steps, cursor={})
        newest = survey.recent(made, 10)
        assert newest is not None
        assert (newest.first_k, newest.rows, newest.loss, newest.correct) == (41, 10, 45.5, 5)


def test_the_newest_quarantined_rows_come_first(tmp_path: Path) -> None:
    with home(tmp_path / "home") as made:
        assert survey.quarantine(made, 2) == []
        bad = [Refused(id=f"b{i}", body=str(i).encode(), reason="bad") for i in range(5)]
        made.journal.append([], refused=bad)
        assert [row.id for row in survey.quarantine(made, 2)] == ["b4", "b3"]
        assert [row.id for row in survey.quarantine(made, 9)] == ["b4", "b3", "b2", "b1", "b0"]
        made.journal.erase([], reason="asked", ids=["b3"])
        assert [row.id for row in survey.quarantine(made, 2)] == ["b4", "b2"]


def test_sources_and_sizes(tmp_path: Path) -> None:
    with home(tmp_path / "home") as made:
        made.journal.append([Row(id="z", body=b"z")], source="b", offset=1, at=2.0)
        assert [(source.name, source.offset) for source in survey.sources(made)] == [("b", 1), ("a", 100)]
        used = survey.disk(tmp_path / "home")
        assert used["blobs"] == 0
        assert used["journal"] > 100 * 100
        (tmp_path / "home" / "blobs" / "ab").mkdir()
        (tmp_path / "home" / "blobs" / "ab" / "cd").write_bytes(b"12345")
        assert survey.disk(tmp_path / "home")["blobs"] == 5


def test_the_writer_is_named_and_never_kept_out(tmp_path: Path) -> None:
    with home(tmp_path / "home"):
        assert survey.writer(tmp_path / "home") not in (None, "unknown")
    assert survey.writer(tmp_path / "home") is None
    assert survey.writer(tmp_path) is None
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            survey.writer(tmp_path / "home")
            time.sleep(0.0005)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(50):
            Home.open(tmp_path / "home").close()
    finally:
        done.set()
        asking.join()
