"""A write-ahead log with a bit turned over: SQLite stops reading there, as after a power cut; we look on."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import apsw
import pytest

from tenuto.errors import CorruptHome, HomeMissing
from tenuto.store.database import PAGE_BYTES, Database
from tenuto.store.format import settle

SCHEMA = "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT, seal TEXT) WITHOUT ROWID; CREATE TABLE t(x)"
FRAME = 24 + PAGE_BYTES


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """What a killed process leaves: a file, and a log of ten transactions over a checkpointed one."""
    database = Database(tmp_path / "x.db")
    settle(database, SCHEMA)
    append(database, 0)
    database.truncate()
    for n in range(1, 11):
        append(database, n)
    for name in ("x.db", "x.db-wal"):
        (tmp_path / "left").mkdir(exist_ok=True)
        shutil.copy(tmp_path / name, tmp_path / "left" / name)
    database.close()
    return tmp_path / "left"


def append(database: Database, n: int) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (?)", (bytes([n]) * 9000,))


def held(folder: Path, again: Path) -> int:
    """Rows found in a copy of the folder."""
    shutil.rmtree(again, ignore_errors=True)
    shutil.copytree(folder, again)
    database = Database(again / "x.db")
    try:
        return database.value("SELECT count(*) FROM t")
    finally:
        database.close()


def frames(folder: Path) -> int:
    return ((folder / "x.db-wal").stat().st_size - 32) // FRAME


def test_a_sound_log_is_read_whole(crashed: Path, tmp_path: Path):
    assert frames(crashed) > 20
    assert held(crashed, tmp_path / "again") == 11


@pytest.mark.parametrize("field", [0, 4, 8, 12, 16, 20, 24, 24 + 5000], ids=str)
def test_a_flip_in_any_frame_is_noticed_unless_it_is_of_the_last_transaction(
    crashed: Path, tmp_path: Path, field: int
):
    log = crashed / "x.db-wal"
    sound = log.read_bytes()
    outcomes = []
    for number in range(frames(crashed)):
        data = bytearray(sound)
        data[32 + number * FRAME + field] ^= 1
        log.write_bytes(data)
        try:
            outcomes.append(held(crashed, tmp_path / "again"))
        except CorruptHome:
            outcomes.append(None)
    assert outcomes == [None] * outcomes.count(None) + [10] * outcomes.count(10)
    assert outcomes.count(10) <= 5


def test_a_flip_in_the_header_is_noticed(crashed: Path, tmp_path: Path):
    log = crashed / "x.db-wal"
    sound = log.read_bytes()
    for place in range(32):
        data = bytearray(sound)
        data[place] ^= 1
        log.write_bytes(data)
        with pytest.raises(CorruptHome, match="log"):
            held(crashed, tmp_path / "again")


def test_a_flip_in_the_header_is_noticed_where_the_log_holds_one_transaction(tmp_path: Path):
    database = Database(tmp_path / "x.db")
    settle(database, SCHEMA)
    append(database, 0)
    database.truncate()
    with database.transaction() as connection:
        connection.execute("UPDATE t SET x = 1")
    (tmp_path / "left").mkdir()
    for name in ("x.db", "x.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / "left" / name)
    database.close()
    assert held(tmp_path / "left", tmp_path / "again") == 1
    log = tmp_path / "left" / "x.db-wal"
    sound = log.read_bytes()
    for place in range(32):
        log.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(CorruptHome, match="log"):
            held(tmp_path / "left", tmp_path / "again")


def test_a_header_of_zeros_is_noticed(crashed: Path, tmp_path: Path):
    log = crashed / "x.db-wal"
    log.write_bytes(bytes(32) + log.read_bytes()[32:])
    with pytest.raises(CorruptHome, match="log"):
        held(crashed, tmp_path / "again")


def test_a_refused_log_is_left_as_it_is(crashed: Path):
    log = crashed / "x.db-wal"
    data = bytearray(log.read_bytes())
    data[32 + 3 * FRAME + 500] ^= 1
    log.write_bytes(data)
    before = {name: (crashed / name).read_bytes() for name in ("x.db", "x.db-wal")}
    for _ in range(2):
        with pytest.raises(CorruptHome, match="log"):
            Database(crashed / "x.db")
        assert {name: (crashed / name).read_bytes() for name in before} == before


def test_what_a_power_cut_leaves_of_the_last_transaction_is_no_damage(crashed: Path, tmp_path: Path):
    log = crashed / "x.db-wal"
    sound = log.read_bytes()
    for cut in range(1, 4 * FRAME, 1000):
        log.write_bytes(sound[:-cut])
        assert held(crashed, tmp_path / "again") in (9, 10)


def test_an_old_log_behind_a_broken_new_header_is_no_damage(crashed: Path, tmp_path: Path):
    whole = tmp_path / "whole"
    shutil.copytree(crashed, whole)
    old = (whole / "x.db-wal").read_bytes()
    Database(whole / "x.db").close()
    (whole / "x.db-wal").write_bytes(bytes(32) + old[32:])
    assert held(whole, tmp_path / "again") == 11


def test_an_old_log_behind_a_shorter_one_whose_successor_was_torn_is_no_damage(tmp_path: Path):
    database = Database(tmp_path / "x.db")
    settle(database, SCHEMA)
    database.truncate()
    for n in (*range(10), None, 10, None):
        if n is None:
            with contextlib.closing(apsw.Connection(str(tmp_path / "x.db"))) as connection:
                connection.execute("SELECT 1 FROM t").fetchall()
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        else:
            append(database, n)
    (tmp_path / "left").mkdir()
    for name in ("x.db", "x.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / "left" / name)
    database.close()
    assert held(tmp_path / "left", tmp_path / "again") == 11
    log = tmp_path / "left" / "x.db-wal"
    sound = log.read_bytes()
    for torn in (bytes(32), bytes(range(32)), sound[:16] + bytes(16)):
        log.write_bytes(torn + sound[32:])
        assert held(tmp_path / "left", tmp_path / "again") == 11
    first = bytearray(sound)
    first[32 + 8 + 3] += 1
    log.write_bytes(bytes(32) + bytes(first[32:]))
    assert held(tmp_path / "left", tmp_path / "again") == 11


def test_a_log_of_nothing_but_its_header_is_read_beside_its_index(tmp_path: Path):
    (tmp_path / "left").mkdir()
    database = Database(tmp_path / "x.db")
    settle(database, SCHEMA)
    append(database, 1)
    database.truncate()
    append(database, 2)
    for name in ("x.db", "x.db-wal", "x.db-shm"):
        shutil.copy(tmp_path / name, tmp_path / "left" / name)
    database.close()
    with (tmp_path / "left" / "x.db-wal").open("r+b") as log:
        log.truncate(32)
    before = {path: path.read_bytes() for path in (tmp_path / "left").iterdir()}
    view = Database(tmp_path / "left" / "x.db", readonly=True)
    assert view.value("SELECT count(*) FROM t") == 1
    view.close()
    assert {path: path.read_bytes() for path in (tmp_path / "left").iterdir()} == before


def test_a_file_whose_making_was_cut_short_is_no_damaged_one(tmp_path: Path):
    Database(tmp_path / "x.db").close()
    view = Database(tmp_path / "x.db", readonly=True)
    with pytest.raises(HomeMissing, match="never completed"):
        settle(view, SCHEMA)
    view.close()
