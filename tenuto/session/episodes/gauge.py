"""The gauge: how long an episode takes, and how much memory beyond what the process held before."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from tenuto.config import EpisodeConfig

STATM = Path("/proc/self/statm")
KILO = 1 if sys.platform == "darwin" else 1024
"""The unit of the peak that the system tells."""


class Gauge:
    """Time and memory since it was made.

    Args:
        config: the bounds.
        clock: in seconds; never goes back.
    """

    def __init__(self, config: EpisodeConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._clock = config, clock
        self._begun = clock()
        self._held, self._peak = _resident(), _highest()
        self._most = self._held
        self._cuda = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return self._clock() - self._begun

    @property
    def bytes(self) -> int:
        """Taken at the peak, of RAM or of an accelerator, the larger.

        Where the process had held more before it was made, RAM is as high as it stood when asked.
        """
        peak = _highest()
        self._most = max(self._most, _resident(), peak if peak > self._peak else 0)
        ram = self._most - self._held
        if not torch.cuda.is_available():
            return ram
        return max(ram, torch.cuda.max_memory_allocated() - self._cuda)

    def over(self) -> str:
        """Which bound is reached, in words; empty where none is."""
        if self.seconds >= self._config.seconds:
            return f"its bound of {self._config.seconds:g} s is reached"
        if self.bytes >= self._config.memory_bytes:
            return f"its bound of {self._config.memory_bytes / 1e9:g} GB of memory is reached"
        return ""


def _resident() -> int:
    """Bytes that the process holds now."""
    if STATM.is_file():
        return int(STATM.read_text().split()[1]) * resource.getpagesize()
    return _highest()


def _highest() -> int:
    """Bytes that it held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILO
