"""What a crash may leave at the seams of a session, and what opening the home makes of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tenuto import OnlineExample, OnlineLearnerConfig, Session, SessionConfig
from tenuto.errors import CorruptHome
from tenuto.session import recovery
from tenuto.store.cursor import Cursor
from tenuto.store.ledger import Ledger

CONFIG = OnlineLearnerConfig(hidden=(8,), memory_size=20, batch_size=5)
OFTEN = SessionConfig(commit_every=4, snapshot_every=10, keep_snapshots=3)


def rows(start: int, stop: int) -> list[OnlineExample]:
    inputs = np.random.default_rng(7).normal(size=(100, 4)).astype(np.float32)
    return [
        OnlineExample(input=inputs[i], target=int(inputs[i, 0] > 0), id=f"r{i}") for i in range(start, stop)
    ]


def session(home: Path) -> Session:
    return Session(home, config=CONFIG, settings=OFTEN)


def crash(s: Session) -> None:
    """Let go of the files without a word: what was not committed is gone."""
    s.home.close()


def learned(s: Session, *parts: Sequence[OnlineExample]) -> None:
    for part in parts:
        s.ingest(part)
        s.run()


def ordered(s: Session, name: str) -> Cursor:
    """A reset that was written and not yet carried out."""
    place = Cursor.of(s.home.snapshots.find(name).cursor).place
    s._walk.order("reset", {"seq": place[0], "done": place[1]})
    return s.fold.cursor


def test_the_learner_stands_where_it_stood(tmp_path: Path) -> None:
    with session(tmp_path) as s:
        learned(s, rows(0, 23))
        stood = s.fold.cursor.to_plain()
        assert stood["pending"] == [21, 22, 23]
        crash(s)
    with session(tmp_path) as s:
        assert s.fold.cursor.to_plain() == stood == dict(s.home.ledger.head.cursor)


def test_a_reset_that_was_only_written_is_carried_out_at_opening(tmp_path: Path) -> None:
    with session(tmp_path) as s:
        learned(s, rows(0, 23))
        s.snapshot("good")
        good = s.learner.digest()
        learned(s, rows(23, 50))
        ordered(s, "good")
        crash(s)
    with session(tmp_path) as s:
        assert s.learner.digest() == good
        assert s.fold.cursor.is_aside(30)
        s.run()
        assert s.learner.digest() == good


def test_what_is_asked_after_half_a_reset_is_not_lost(tmp_path: Path) -> None:
    with session(tmp_path) as s:
        learned(s, rows(0, 23))
        s.snapshot("good")
        learned(s, rows(23, 50))
        ordered(s, "good")
        s._walk._return(Cursor.of(s.home.snapshots.find("good").cursor).place)
        crash(s)
    with session(tmp_path) as s:
        assert s.take(["r30", "r31"]) == 1
        assert s.learner.stats.examples == 22
        assert recovery.verify(s.home, s._make).holds


def test_forgetting_cut_short_before_the_blobs_went_is_finished_at_opening(tmp_path: Path) -> None:
    (secret,) = rows(12, 13)
    mark = np.asarray(secret.input).tobytes()
    with session(tmp_path) as s:
        learned(s, rows(0, 50))
        journal = s.home.journal
        row = recovery.unseen(s.home, journal.seqs(id="r12"))
        journal.erase(journal.seqs(id="r12"), reason="asked")
        memory = s.home.snapshots.read(row).memory
        s.home.ledger.rewind(row.k, cursor=row.cursor, memory=memory, digest=row.digest)
        crash(s)
    with session(tmp_path):
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and mark in path.read_bytes()]


def test_a_changed_table_of_memory_is_noticed(tmp_path: Path) -> None:
    with session(tmp_path) as s:
        learned(s, rows(0, 50))
    with Ledger(tmp_path / "state.db").database.transaction() as connection:
        connection.execute("UPDATE memory SET seq = seq + 64 WHERE slot = 3")
    with pytest.raises(CorruptHome, match="slot 3 of memory"):
        session(tmp_path)


def test_what_a_damaged_index_hides_is_not_said_to_be_absent(tmp_path: Path) -> None:
    with session(tmp_path) as s:
        learned(
            s, [OnlineExample(input=row.input, target=row.target, id=f"only-{row.id}") for row in rows(0, 20)]
        )
    file = tmp_path / "ingest.db"
    sound = file.read_bytes()
    places = [found.start() for found in re.finditer(b"only-r12", sound)]
    assert len(places) == 2
    for place in places:
        file.write_bytes(sound[:place] + b"O" + sound[place + 1 :])
        with pytest.raises(CorruptHome), session(tmp_path) as s:
            s.take(["only-r12"])
        file.write_bytes(sound[:place] + b"O" + sound[place + 1 :])
        with pytest.raises(CorruptHome), session(tmp_path) as s:
            s.forget(id="only-r12")
        file.write_bytes(sound)
