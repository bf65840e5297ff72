"""Every operation on a home's files goes through a tap, whichever of the two doors it takes.

SQLite writes through a VFS, blobs through a `System`; both here do what the real ones do, and hand each
operation that changes a file to a tap first. A tap may count, write down, refuse, cut short, or end the
process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from tenuto.store.disk import Disk
from tenuto.store.system import Posix

LOGS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
NAME = "tapped"


class Op(NamedTuple):
    """One operation.

    Args:
        kind: create, write, truncate, sync, sync_dir, delete, rename, mkdir.
        path: of the file or folder.
        at: where a write starts, or the size after a truncation.
        data: what a write writes.
        to: the new name of a rename.
    """

    kind: str
    path: str
    at: int = 0
    data: bytes = b""
    to: str = ""


class Tap:
    """Lets everything pass. `do` carries the operation out; a write takes the bytes to write."""

    def __call__(self, op: Op, do: Callable[[bytes], Any]) -> Any:
        return do(op.data)


class TappedVFS(apsw.VFS):
    """The operating system's VFS behind a tap."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        super().__init__(NAME, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return TappedFile(self._tap, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        with _as_sqlite():
            self._tap(Op("delete", name), lambda _: super(TappedVFS, self).xDelete(name, False))
            if sync:
                self._tap(Op("sync_dir", os.path.dirname(name)), lambda _: _sync_dir(name))


class TappedFile(apsw.VFSFile):
    """One file of SQLite's."""

    def __init__(self, tap: Tap, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._tap = tap
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        # SQLite's own VFS syncs the directory with the first sync of every log it opens.
        self._fresh_log = bool(flags[0] & LOGS and flags[0] & apsw.SQLITE_OPEN_CREATE)
        super_open = super().__init__
        if flags[0] & apsw.SQLITE_OPEN_CREATE and not os.path.exists(self._path):
            with _as_sqlite():
                tap(Op("create", self._path), lambda _: super_open("", name, flags))
        else:
            super_open("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        with _as_sqlite():
            self._tap(
                Op("write", self._path, offset, bytes(data)),
                lambda part: super(TappedFile, self).xWrite(part, offset),
            )

    def xTruncate(self, size: int) -> None:
        with _as_sqlite():
            self._tap(Op("truncate", self._path, size), lambda _: super(TappedFile, self).xTruncate(size))

    def xSync(self, flags: int) -> None:
        with _as_sqlite():
            self._tap(Op("sync", self._path), lambda _: super(TappedFile, self).xSync(flags))
            if self._fresh_log:
                self._fresh_log = False
                self._tap(Op("sync_dir", os.path.dirname(self._path)), lambda _: None)


class TappedSystem(Posix):
    """The operating system's file calls behind a tap."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._open: dict[int, tuple[str, int]] = {}

    def create(self, path: Path) -> int:
        file: int = self._tap(Op("create", str(path)), lambda _: super(TappedSystem, self).create(path))
        self._open[file] = (str(path), 0)
        return file

    def write(self, file: int, data: bytes | memoryview) -> int:
        path, at = self._open[file]
        op = Op("write", path, at, bytes(data))
        done: int = self._tap(op, lambda part: super(TappedSystem, self).write(file, part))
        self._open[file] = (path, at + done)
        return done

    def fsync(self, file: int) -> None:
        path, _ = self._open.get(file, ("", 0))
        if path:
            self._tap(Op("sync", path), lambda _: super(TappedSystem, self).fsync(file))
        else:
            super().fsync(file)

    def close(self, file: int) -> None:
        self._open.pop(file, None)
        super().close(file)

    def rename(self, old: Path, new: Path) -> None:
        self._tap(Op("rename", str(old), to=str(new)), lambda _: super(TappedSystem, self).rename(old, new))

    def unlink(self, path: Path) -> None:
        self._tap(Op("delete", str(path)), lambda _: super(TappedSystem, self).unlink(path))

    def mkdir(self, path: Path) -> None:
        self._tap(Op("mkdir", str(path)), lambda _: super(TappedSystem, self).mkdir(path))

    def fsync_dir(self, path: Path) -> None:
        self._tap(Op("sync_dir", str(path)), lambda _: super(TappedSystem, self).fsync_dir(path))

    def lock(self, path: Path) -> int:
        if path.exists():
            return super().lock(path)
        file: int = self._tap(Op("create", str(path)), lambda _: super(TappedSystem, self).lock(path))
        return file


class Tapped:
    """Both doors behind one tap, for as long as the block lasts."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap

    def __enter__(self) -> tuple[str, Callable[[], Disk]]:
        self._vfs = TappedVFS(self.tap)
        return NAME, lambda: Disk(TappedSystem(self.tap))

    def __exit__(self, *_: object) -> None:
        self._vfs.unregister()


class _as_sqlite:
    """Failures of the system in SQLite's words, as its own VFS puts them."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            full = error.errno == 28
            raise (apsw.FullError if full else apsw.IOError)(str(error)) from error


def _sync_dir(name: str) -> None:
    Posix().fsync_dir(Path(name).parent)
