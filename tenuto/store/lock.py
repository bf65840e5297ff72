"""The one writer's lock on a home: released by the operating system however its holder dies."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from tenuto.errors import HomeLocked, StoreError
from tenuto.store.system import System


class Lock:
    """Holds a file exclusively from construction to `release`. Raises HomeLocked naming the holder."""

    def __init__(self, path: Path, system: System) -> None:
        self._system = system
        self._file: int | None = None
        try:
            self._file = _patiently(path, system)
        except BlockingIOError:
            holder = system.read(path).decode(errors="replace").strip() or "unknown"
            raise HomeLocked(
                f"{path.parent} is open in process {holder}. Wait for it or stop it; tenuto status and "
                "tenuto report work beside it"
            ) from None
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror}. Check its permissions") from error

    def release(self) -> None:
        """Let the next writer in. Idempotent."""
        if self._file is not None:
            self._system.close(self._file)
            self._file = None


def _patiently(path: Path, system: System) -> int:
    """A viewer that asks who writes (`survey.writer`) holds the lock for an instant; that is no writer."""
    for _ in range(10):
        with suppress(BlockingIOError):
            return system.lock(path)
        time.sleep(0.01)
    return system.lock(path)
