"""The calls a disk is made of, below the order that makes writes durable.

A simulated disk puts itself here, so that it can lose, tear or reorder exactly what a power cut may.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol


class System(Protocol):
    """One method per call. Failures are OSErrors."""

    def read(self, path: Path) -> bytes:
        """The file's bytes."""

    def create(self, path: Path) -> int:
        """An empty file to write, whatever was there before; its descriptor."""

    def write(self, file: int, data: bytes | memoryview) -> int:
        """Write a part of the data; how many bytes."""

    def fsync(self, file: int) -> None:
        """Make a file's content durable."""

    def close(self, file: int) -> None:
        """Let go of a descriptor, and of its lock."""

    def rename(self, old: Path, new: Path) -> None:
        """Put a file in place of another at once."""

    def unlink(self, path: Path) -> None:
        """Remove a file."""

    def mkdir(self, path: Path) -> None:
        """Make a folder in one that is there."""

    def fsync_dir(self, path: Path) -> None:
        """Make the names in a folder durable."""

    def listdir(self, path: Path) -> list[str]:
        """Names in a folder, in any order."""

    def exists(self, path: Path) -> bool:
        """Is there a file or folder?"""

    def lock(self, path: Path) -> int:
        """Open and lock a file whose content is the holder's process id; BlockingIOError when held."""


class Posix:
    """The operating system's own calls."""

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)

    def write(self, file: int, data: bytes | memoryview) -> int:
        return os.write(file, data)

    def fsync(self, file: int) -> None:
        if hasattr(fcntl, "F_FULLFSYNC"):
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
        else:
            os.fsync(file)

    def close(self, file: int) -> None:
        os.close(file)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def mkdir(self, path: Path) -> None:
        os.mkdir(path)

    def fsync_dir(self, path: Path) -> None:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.fsync(file)
        finally:
            os.close(file)

    def listdir(self, path: Path) -> list[str]:
        return os.listdir(path)

    def exists(self, path: Path) -> bool:
        return path.exists()

    def lock(self, path: Path) -> int:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise
        # On a full disk the holder stays unnamed: opening it to make room must still be possible.
        with suppress(OSError):
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        return file
