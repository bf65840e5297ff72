"""One SQLite file: sound library, durable transactions, readers that change nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tenuto.errors import ConfigError, CorruptHome, HomeTooNew, StoreError
from tenuto.store.database import Database, affected, require_sound, set_meta
from tenuto.store.format import found, settle

SCHEMA = "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT, seal TEXT) WITHOUT ROWID; CREATE TABLE t(x)"


def tree(root: Path) -> dict[str, tuple[int, str]]:
    return {
        name: (os.stat(root / name).st_mtime_ns, hashlib.sha256((root / name).read_bytes()).hexdigest())
        for name in os.listdir(root)
    }


@pytest.mark.parametrize(
    ("version", "bad"),
    [
        ("3.6.23", False),
        ("3.7.0", True),
        ("3.40.1", True),
        ("3.44.5", True),
        ("3.44.6", False),
        ("3.45.0", True),
        ("3.50.6", True),
        ("3.50.7", False),
        ("3.51", True),
        ("3.51.2", True),
        ("3.51.3", False),
        ("3.52.0", False),
        ("4.0.0", False),
    ],
)
def test_the_log_reset_bug_is_known_by_version(version: str, bad: bool):
    assert affected(version) is bad
    if bad:
        with pytest.raises(StoreError, match=f"SQLite {version} can corrupt"):
            require_sound(version)
    else:
        require_sound(version)


def test_pragmas(tmp_path: Path):
    database = Database(tmp_path / "x.db")
    settle(database, SCHEMA)
    pragma = database._connection.pragma
    assert (pragma("journal_mode"), pragma("synchronous"), pragma("secure_delete")) == ("wal", 2, 1)
    assert pragma("auto_vacuum") == 2
    database.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path):
    database = Database(tmp_path / "x.db")
    settle(database, SCHEMA)

    def stop() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop()
    assert database.rows("SELECT * FROM t") == []
    with pytest.raises(ConfigError), database.transaction() as connection:
        set_meta(connection, "k", float("nan"))
    database.close()


WRITER = """
import sys
from pathlib import Path
from tenuto.store.database import Database
database = Database(Path(sys.argv[1]))
print(flush=True)
for line in sys.stdin:
    if line == "insert\\n":
        with database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
    else:
        database.truncate()
    print(flush=True)
"""


class Writer:
    """A real second process that writes the database."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.process.stdout.readline()

    def do(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def end(self, kill: bool) -> None:
        if kill:
            self.process.kill()
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.mark.parametrize("kill", [False, True])
def test_a_reader_beside_a_writer_sees_commits_and_changes_no_byte(tmp_path: Path, kill: bool):
    path = tmp_path / "x.db"
    database = Database(path)
    settle(database, SCHEMA)
    database.close()

    def count() -> int:
        before = tree(tmp_path)
        reader = Database(path, readonly=True)
        rows = reader.value("SELECT count(*) FROM t")
        reader.close()
        assert tree(tmp_path) == before
        return rows

    assert count() == 0
    long_reader = Database(path, readonly=True)
    assert long_reader.value("SELECT count(*) FROM t") == 0
    writer = Writer(path)
    for n in range(1, 4):
        writer.do("insert")
        assert count() == n == long_reader.value("SELECT count(*) FROM t")
        if n == 2:
            writer.do("truncate")
            assert count() == 2
    writer.end(kill)
    assert count() == 3 == long_reader.value("SELECT count(*) FROM t")
    long_reader.close()


def test_a_copy_without_log_and_index_can_be_viewed(tmp_path: Path):
    database = Database(tmp_path / "x.db")
    settle(database, SCHEMA)
    database.close()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "x.db").write_bytes((tmp_path / "x.db").read_bytes())
    before = tree(tmp_path / "copy")
    reader = Database(tmp_path / "copy" / "x.db", readonly=True)
    assert found(reader) == 1
    with pytest.raises(StoreError, match="read-only"), reader.transaction():
        pass
    reader.close()
    assert tree(tmp_path / "copy") == before


def test_a_file_that_is_no_database(tmp_path: Path):
    (tmp_path / "x.db").write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(CorruptHome, match="damaged"):
        Database(tmp_path / "x.db")


def test_formats_are_migrated_in_order_and_newer_ones_left_alone(tmp_path: Path):
    path = tmp_path / "x.db"
    database = Database(path)
    settle(database, SCHEMA, newest=1)
    steps = {
        "x.db": {
            1: lambda connection: connection.execute("ALTER TABLE t ADD COLUMN y"),
            2: lambda connection: connection.execute("UPDATE t SET y = x + 1"),
        }
    }
    with database.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (4)")
    database.close()
    reader = Database(path, readonly=True)
    with pytest.raises(StoreError, match=r"format 1.*writes 3.*once for writing"):
        settle(reader, SCHEMA, newest=3, migrations=steps)
    reader.close()
    database = Database(path)
    settle(database, SCHEMA, newest=3, migrations=steps)
    assert (found(database), database.rows("SELECT x, y FROM t")) == (3, [(4, 5)])
    before = database._connection.total_changes()
    with pytest.raises(HomeTooNew, match=r"format 3.*up to 1.*pip install -U tenuto"):
        settle(database, SCHEMA, newest=1)
    assert database._connection.total_changes() == before
    database.close()


def test_a_migration_that_fails_leaves_the_older_format(tmp_path: Path):
    database = Database(tmp_path / "x.db")
    settle(database, SCHEMA, newest=1)

    def broken(connection: apsw.Connection) -> None:
        connection.execute("ALTER TABLE t ADD COLUMN y")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        settle(database, SCHEMA, newest=2, migrations={"x.db": {1: broken}})
    assert found(database) == 1
    assert [row[1] for row in database.rows("PRAGMA table_info(t)")] == ["x"]
    database.close()


def test_a_closed_database_says_so(tmp_path: Path):
    database = Database(tmp_path / "x.db")
    settle(database, SCHEMA)
    database.close()
    database.close()
    with pytest.raises(StoreError, match=r"x\.db is closed\. Open the home again"):
        database.meta("cursor")
    with pytest.raises(StoreError, match="is closed"), database.transaction():
        pass


def test_a_changed_meta_value_is_noticed(tmp_path: Path):
    database = Database(tmp_path / "x.db")
    settle(database, SCHEMA)
    with database.transaction() as connection:
        set_meta(connection, "cursor", {"seq": 10})
        connection.execute("UPDATE meta SET value = '{\"seq\": 90}' WHERE key = 'cursor'")
    with pytest.raises(CorruptHome, match="'cursor'"):
        database.meta("cursor")
    database.close()
