"""The one module that writes files: whole files, durable when `write` returns, never half visible.

The order is the guarantee: temporary file, write, fsync, rename, fsync of the directory; a directory
made on the way is fsynced in its parent before anything is put into it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tenuto.errors import CorruptHome, OutOfSpace, StoreError
from tenuto.store.system import Posix, System

TEMPORARY = ".tmp"
GROUP = 64
"""Files written side by side before their fsyncs: the file system commits its log once for many."""
REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
Content = tuple[bytes | memoryview, ...]


class Fuse:
    """Blown by the first write that the disk refuses; after it every write of the home is refused.

    >>> fuse = Fuse()
    >>> fuse.check()
    >>> str(fuse.blow("state.db", "disk is full")).split(":")[0]
    'state.db could not be written'
    """

    def __init__(self) -> None:
        self.reason: str | None = None

    def check(self) -> None:
        """Raise OutOfSpace when a write was refused before."""
        if self.reason is not None:
            raise OutOfSpace(self.reason)

    def blow(self, name: str, cause: object) -> OutOfSpace:
        """Remember the refusal; the error to raise for it."""
        self.reason = (
            f"{name} could not be written: {cause}. What was acknowledged is safe; the home is read-only "
            "until it is opened again. Free space on its disk (or raise the quota), then open it again"
        )
        return OutOfSpace(self.reason)


class Disk:
    """Whole files, atomic and durable, over a `System`.

    >>> import tempfile
    >>> disk, path = Disk(), Path(tempfile.mkdtemp()) / "ab" / "cd"
    >>> disk.write(path, b"kept")
    >>> disk.read(path), disk.names(path.parent)
    (b'kept', ['cd'])
    """

    def __init__(self, system: System | None = None) -> None:
        self.system: System = Posix() if system is None else system
        self.fuse = Fuse()
        self._settled: set[Path] = set()

    def read(self, path: Path) -> bytes:
        """The file's bytes. Raises CorruptHome when it is missing or unreadable."""
        try:
            return self.system.read(path)
        except OSError as error:
            raise CorruptHome(f"{path} cannot be read: {error.strerror}. {RESTORE}") from error

    def write(self, path: Path, *content: bytes | memoryview) -> None:
        """Write one file; durable on return. Raises OutOfSpace when the disk refuses."""
        self.write_all([(path, content)])

    def write_all(self, files: Iterable[tuple[Path, Content]]) -> None:
        """Write files; all durable on return, each visible only when whole."""
        group: list[tuple[Path, Content]] = []
        for file in files:
            group.append(file)
            if len(group) == GROUP:
                self._write_group(group)
                group = []
        self._write_group(group)

    def settle(self, *folders: Path) -> None:
        """Make folders durable, made where missing, and what this process finds in them.

        A file or folder left by a process that died between its rename and its fsync is seen, but a
        power cut may still take it.
        """
        new = [folder for folder in folders if folder not in self._settled]
        if not new:
            return
        with self._writing(new[0]):
            found = [folder for folder in new if self.system.exists(folder)]
            for folder in new:
                self._make(folder)
            for folder in {**dict.fromkeys(found), **dict.fromkeys(folder.parent for folder in new)}:
                self.system.fsync_dir(folder)
        self._settled.update(new)

    def sync(self, *folders: Path) -> None:
        """Make what was removed from folders durable: a power cut brings none of it back."""
        for folder in folders:
            with self._writing(folder):
                self.system.fsync_dir(folder)

    def delete(self, path: Path) -> None:
        """Remove a file; one that is gone already is no error. Durable after `sync` of its folder."""
        with self._writing(path), suppress(FileNotFoundError):
            self.system.unlink(path)

    def names(self, folder: Path) -> list[str]:
        """Names in a folder, sorted, without temporary files; [] when there is no such folder."""
        return [name for name in self._listed(folder) if not name.endswith(TEMPORARY)]

    def sweep(self, folder: Path) -> None:
        """Remove temporary files that a crash left."""
        for name in self._listed(folder):
            if name.endswith(TEMPORARY):
                self.delete(folder / name)

    def exists(self, path: Path) -> bool:
        """Is there a file or folder?"""
        return self.system.exists(path)

    def _listed(self, folder: Path) -> list[str]:
        try:
            return sorted(self.system.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise CorruptHome(f"{folder} cannot be listed: {error.strerror}. {RESTORE}") from error

    def _make(self, folder: Path) -> None:
        if not self.system.exists(folder):
            if not self.system.exists(folder.parent):
                self._make(folder.parent)
                self.system.fsync_dir(folder.parent.parent)
            with suppress(FileExistsError):
                self.system.mkdir(folder)

    def _write_group(self, group: list[tuple[Path, Content]]) -> None:
        self.settle(*dict.fromkeys(path.parent for path, _ in group))
        started: list[Path] = []
        try:
            self._replace(group, started)
        except StoreError:
            for path in started:
                with suppress(OSError):
                    self.system.unlink(path)
            raise

    def _replace(self, group: list[tuple[Path, Content]], started: list[Path]) -> None:
        opened: list[int] = []
        with self._writing(group[0][0] if group else Path()):
            try:
                for path, content in group:
                    started.append(path.with_name(path.name + TEMPORARY))
                    opened.append(self.system.create(started[-1]))
                    self._fill(opened[-1], content)
                for file in opened:
                    self.system.fsync(file)
            finally:
                for file in opened:
                    self.system.close(file)
            for temporary, (path, _) in zip(tuple(started), group, strict=True):
                self.system.rename(temporary, path)
                started.remove(temporary)
            for folder in dict.fromkeys(path.parent for path, _ in group):
                self.system.fsync_dir(folder)

    def _fill(self, file: int, content: Content) -> None:
        for part in content:
            rest = memoryview(part)
            while rest:
                rest = rest[self.system.write(file, rest) :]

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        self.fuse.check()
        try:
            yield
        except OSError as error:
            if error.errno in REFUSALS:
                raise self.fuse.blow(str(path), error.strerror) from error
            raise StoreError(f"{path} cannot be written: {error.strerror}. Check its permissions") from error


RESTORE = "Restore it from a copy of the home, or go back to an older snapshot"
