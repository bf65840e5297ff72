"""One SQLite file: write-ahead log, synchronous=FULL, one writer, errors in the house's own words.

A transaction is durable when its block ends. Deleted content is overwritten with zeros (secure_delete).
Readers in other processes need no lock and change no byte: the log and its index outlive the writer
(PERSIST_WAL), and are mapped read-only. A named VFS is taken to have no shared memory, so a connection
through one is exclusive.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from tenuto.errors import ConfigError, CorruptHome, StoreError
from tenuto.store.disk import RESTORE, Fuse
from tenuto.store.log import HEADER, hidden

PAGE_BYTES = 8192
LOG_PAGES = 1000
CACHE_KIB = 16 * 1024
BUSY_MS = 5000
INCREMENTAL = 2
DAMAGED = (
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.SQLError,
    apsw.ConstraintError,
    apsw.MismatchError,
    UnicodeDecodeError,
)
"""What a file says whose bytes were changed: no statement of the store's own fails so on a sound one."""
READ_ONLY = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
READ_WRITE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
UNREADABLE = {apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_CORRUPTFS}
Value = None | int | float | str | bytes
Row = tuple[Any, ...]


def affected(version: str) -> bool:
    """Whether this SQLite may corrupt a database when its write-ahead log is reset.

    The bug is in 3.7.0 to 3.51.2; 3.44.6 and 3.50.7 carry the fix on their branches.

    >>> [affected(v) for v in ("3.51.3", "3.51.2", "3.50.7", "3.50.6", "3.44.6", "3.45.1", "3.40.1")]
    [False, True, False, True, False, True, True]
    """
    major, minor, patch = (int(part) for part in (*version.split("."), "0")[:3])
    if (major, minor) in {(3, 44), (3, 50)}:
        return patch < {44: 6, 50: 7}[minor]
    return (3, 7, 0) <= (major, minor, patch) <= (3, 51, 2)


def require_sound(version: str) -> None:
    """Raise StoreError on an SQLite that carries the write-ahead-log bug."""
    if affected(version):
        raise StoreError(
            f"SQLite {version} can corrupt a database when its write-ahead log is reset; "
            "tenuto needs 3.51.3 or newer: pip install -U apsw"
        )


class Database:
    """A connection with the pragmas, the errors and the transactions of this store.

    Args:
        path: the file; created when missing unless `readonly`.
        fuse: blown by the first refused write; shared by everything that writes the home.
        vfs: name of an apsw VFS to go through.
        readonly: read without a lock and without changing a byte.
    """

    def __init__(
        self, path: Path, *, fuse: Fuse | None = None, vfs: str | None = None, readonly: bool = False
    ) -> None:
        require_sound(apsw.sqlite_lib_version())
        self.path = path
        self.readonly = readonly
        self._fuse = Fuse() if fuse is None else fuse
        with self._translate(writing=not readonly):
            self._connection = _view(path) if readonly else _connect(path, vfs)
        if not readonly and self._hidden():
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._connection.close()
            raise CorruptHome(f"the log of {path} breaks off within what was acknowledged. {RESTORE}")

    def _hidden(self) -> bool:
        with self._translate(writing=False):
            self._connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
            read, _ = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        return hidden(self.path, PAGE_BYTES, max(read, 0))

    def close(self) -> None:
        """Check the log into the file and let go of it. Idempotent."""
        with self._translate(writing=True):
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """All or nothing; durable when the block ends. Raises OutOfSpace, CorruptHome."""
        if self.readonly:
            raise StoreError(f"{self.path} was opened read-only; open the home for writing")
        self._fuse.check()
        with self._translate(writing=True):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(apsw.Error):
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Every query in the block sees one state of the file, whatever a writer does meanwhile."""
        with self._translate(writing=False):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    def rows(self, sql: str, bindings: Sequence[Value] = ()) -> list[Row]:
        """Every row of a query."""
        with self._translate(writing=False):
            return self._connection.execute(sql, bindings).fetchall()

    def walk(self, sql: str, bindings: Sequence[Value] = ()) -> Iterator[Row]:
        """The rows of a query one by one, for results too large to hold."""
        with self._translate(writing=False):
            yield from self._connection.execute(sql, bindings)

    def row(self, sql: str, bindings: Sequence[Value] = ()) -> Row | None:
        """The first row of a query, or None."""
        with self._translate(writing=False):
            return self._connection.execute(sql, bindings).fetchone()

    def value(self, sql: str, bindings: Sequence[Value] = ()) -> Any:
        """The first column of the first row, or None."""
        with self._translate(writing=False):
            return self._connection.execute(sql, bindings).get

    def meta(self, key: str) -> Any:
        """Plain data kept under a key of the meta table, or None."""
        row = self.row("SELECT value, seal FROM meta WHERE key = ?", (key,))
        if row is None:
            return None
        if row[1] != seal(key, row[0]):
            raise CorruptHome(f"{self.path}: {key!r} of its meta table does not match its seal. {RESTORE}")
        return json.loads(row[0])

    def reclaim(self) -> None:
        """Give freed pages back to the file system."""
        self._fuse.check()
        with self._translate(writing=True):
            self._connection.execute("PRAGMA incremental_vacuum").fetchall()
        self.truncate()

    def rewrite(self) -> None:
        """Write the whole file anew: no free page and no gap keeps what was deleted."""
        self._fuse.check()
        with self._translate(writing=True):
            self._connection.execute("VACUUM")

    def truncate(self) -> bool:
        """Empty the write-ahead log into the file, so that it keeps no older version of a page.

        False when a reader in another process still needs the log.
        """
        self._fuse.check()
        with self._translate(writing=True):
            try:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except apsw.BusyError:
                return False
        return True

    def problems(self) -> list[str]:
        """What SQLite's own check finds wrong with the file, its indexes included; [] when sound."""
        try:
            found = [str(text) for (text,) in self._connection.execute("PRAGMA integrity_check")]
        except (*DAMAGED, apsw.IOError) as error:
            return [str(error)]
        return [] if found == ["ok"] else found

    def trust(self) -> None:
        """Raise CorruptHome where damage may hide what a query did not find."""
        problems = self.problems()
        if problems:
            raise CorruptHome(f"{self.path} is damaged: {problems[0]}. {RESTORE}")

    @contextmanager
    def _translate(self, *, writing: bool) -> Iterator[None]:
        try:
            yield
        except (apsw.FullError, apsw.IOError) as error:
            if writing and getattr(error, "extendedresult", 0) not in UNREADABLE:
                raise self._fuse.blow(str(self.path), error) from error
            raise CorruptHome(f"{self.path} cannot be read: {error}. {RESTORE}") from error
        except DAMAGED as error:
            raise CorruptHome(f"{self.path} is damaged: {error}. {RESTORE}") from error
        except (apsw.CantOpenError, apsw.PermissionsError, apsw.ReadOnlyError) as error:
            raise StoreError(f"{self.path} cannot be opened: {error}. Check its permissions") from error
        except apsw.ConnectionClosedError as error:
            raise StoreError(f"{self.path} is closed. Open the home again") from error
        except (apsw.BusyError, apsw.LockedError) as error:
            raise StoreError(
                f"{self.path} is in use by another process for more than {BUSY_MS / 1000:g} s: {error}. "
                "Close whatever reads or writes it and try again"
            ) from error


def set_meta(connection: apsw.Connection, key: str, value: Any) -> None:
    """Keep plain data under a key, within the caller's transaction."""
    text = pack(value)
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (key, text, seal(key, text)))


def seal(*fields: Value) -> str:
    """A hash over fields of a row, to tell when the disk has changed one of them."""
    return sha256(json.dumps(fields, default=repr).encode()).hexdigest()


def pack(plain: Any) -> str:
    """Plain data as JSON. Raises ConfigError for anything else, NaN and infinities included."""
    try:
        return json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"only plain, finite data can be kept: {error}") from error


def _connect(path: Path, vfs: str | None) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=READ_WRITE, vfs=vfs)
    connection.set_busy_timeout(BUSY_MS)
    if vfs is not None:
        connection.pragma("locking_mode", "exclusive")
    connection.pragma("page_size", PAGE_BYTES)
    # Setting it writes, even to what it is: nothing may be written before `hidden` has looked.
    if connection.pragma("auto_vacuum") != INCREMENTAL:
        connection.pragma("auto_vacuum", INCREMENTAL)
    if connection.pragma("journal_mode", "wal") != "wal":
        raise StoreError(
            f"{path} cannot use a write-ahead log on this file system. Move the home to a local one"
        )
    connection.pragma("cache_size", -CACHE_KIB)
    connection.pragma("synchronous", 2)
    connection.pragma("secure_delete", True)
    connection.pragma("wal_autocheckpoint", LOG_PAGES)
    connection.pragma("journal_size_limit", 2 * LOG_PAGES * PAGE_BYTES)
    keep = ctypes.c_int(1)
    connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(keep))
    return connection


def _view(path: Path) -> apsw.Connection:
    log, index = (path.with_name(path.name + ending) for ending in ("-wal", "-shm"))
    name, size = f"file:{quote(str(path))}?mode=ro", log.stat().st_size if log.exists() else 0
    # Beside the index of a killed writer, SQLite takes ten seconds to refuse a log that is all header.
    if size == HEADER.size or (size == 0 and not index.exists()):
        name += "&immutable=1"
    elif index.exists():
        name += "&readonly_shm=1"
    connection = apsw.Connection(name, flags=READ_ONLY)
    connection.set_busy_timeout(BUSY_MS)
    return connection
