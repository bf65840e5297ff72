"""A home: one directory, one writer, everything a learner needs to come back after a crash.

Opening it for writing takes the lock, completes what a crash cut short and migrates older formats; viewing
it takes no lock and changes no byte. Once its disk refuses a write, an open home is read-only: whatever was
acknowledged stays acknowledged, and every later write fails with the same clear error.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tenuto.errors import HomeMissing, StoreError
from tenuto.store.blobs import Blobs
from tenuto.store.disk import Disk
from tenuto.store.journal import Journal
from tenuto.store.ledger import Ledger
from tenuto.store.lock import Lock
from tenuto.store.snapshots import Snapshots

JOURNAL, LEDGER, BLOBS, LOCK = "ingest.db", "state.db", "blobs", "lock"
ENDINGS = ("", "-wal", "-shm", "-journal")
OURS = {LOCK, BLOBS} | {name + ending for name in (JOURNAL, LEDGER) for ending in ENDINGS}


class Home:
    """An open home; a context manager.

    Attributes:
        path: the directory.
        config: the plain data it was created with.
        journal, ledger, blobs, snapshots: its parts.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "home"
    >>> with Home.create(path, config={"method": "er"}) as home:
    ...     home.config, home.journal.last_seq
    ({'method': 'er'}, 0)
    """

    def __init__(self, path: Path, *, disk: Disk, vfs: str | None, readonly: bool, lock: Lock | None) -> None:
        self.path = path
        self.disk = disk
        self.readonly = readonly
        self._lock = lock
        fuse = disk.fuse
        self.journal = Journal(path / JOURNAL, fuse=fuse, vfs=vfs, readonly=readonly)
        try:
            self.ledger = Ledger(path / LEDGER, fuse=fuse, vfs=vfs, readonly=readonly)
        except BaseException:
            self.journal.close()
            raise
        self.blobs = Blobs(path / BLOBS, disk)
        self.snapshots = Snapshots(self.ledger, self.blobs)

    @classmethod
    def create(
        cls, path: str | Path, *, config: Mapping[str, Any], vfs: str | None = None, disk: Disk | None = None
    ) -> Self:
        """Make a home and open it for writing. Raises StoreError when something else is there.

        A creation that a crash cut short is completed.
        """
        path, disk = Path(path).absolute(), Disk() if disk is None else disk
        if not disk.exists(path):
            disk.settle(path)
        strangers = [name for name in disk.names(path) if name not in OURS]
        if strangers:
            raise StoreError(f"{path} is not empty: it holds {strangers[0]!r}. Choose a directory of its own")
        home = cls._locked(path, disk, vfs)
        try:
            if home._created:
                raise StoreError(f"{path} is a home already. Open it, or choose another directory")
            disk.settle(path / BLOBS)
            home.ledger.configure(config)
        except BaseException:
            home.close()
            raise
        return home

    @classmethod
    def open(cls, path: str | Path, *, vfs: str | None = None, disk: Disk | None = None) -> Self:
        """Open a home for writing.

        Raises:
            HomeMissing, HomeLocked, HomeTooNew, CorruptHome, OutOfSpace, StoreError.
        """
        disk = Disk() if disk is None else disk
        path = _existing(path, disk)
        home = cls._locked(path, disk, vfs)
        if not home._created:
            home.close()
            raise HomeMissing(f"the home at {path} was never completed. Create it again at the same place")
        return home

    @classmethod
    def view(cls, path: str | Path) -> Self:
        """Open a home read-only: without the lock, beside a writer, changing no byte."""
        disk = Disk()
        return cls(_existing(path, disk), disk=disk, vfs=None, readonly=True, lock=None)

    @property
    def config(self) -> dict[str, Any]:
        """The plain data the home was created with."""
        return self.ledger.config

    @property
    def refusal(self) -> str | None:
        """Why the home became read-only while it was open; None while its disk takes writes."""
        return self.disk.fuse.reason

    def close(self) -> None:
        """Let go of the files and then of the lock. Idempotent."""
        with ExitStack() as stack:
            if self._lock is not None:
                stack.callback(self._lock.release)
            stack.callback(self.ledger.close)
            stack.callback(self.journal.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @classmethod
    def _locked(cls, path: Path, disk: Disk, vfs: str | None) -> Self:
        lock = Lock(path / LOCK, disk.system)
        try:
            return cls(path, disk=disk, vfs=vfs, readonly=False, lock=lock)
        except BaseException:
            lock.release()
            raise

    @property
    def _created(self) -> bool:
        return self.ledger.database.meta("config") is not None


def _existing(path: str | Path, disk: Disk) -> Path:
    path = Path(path).absolute()
    if not disk.exists(path):
        raise HomeMissing(f"there is no home at {path}. Create one with tenuto learn, or check the path")
    if not {JOURNAL, LEDGER} <= set(disk.names(path)):
        raise HomeMissing(f"{path} is not a home: it has no {JOURNAL} and {LEDGER}. Check the path")
    return path
