"""The allocator's peak within an update: on a CPU the running sum of all that torch allocates and frees, on
CUDA the device's own count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import torch

from tenuto.errors import StateError


class Peak:
    """The highest of what was allocated within an update, beyond what there was."""

    def __init__(self) -> None:
        self.peak = 0

    @contextmanager
    def update(self) -> Iterator[None]:
        """The update that counts."""
        with torch.profiler.record_function("update"):
            yield


class DevicePeak(Peak):
    """The same, as a device counts it."""

    def __init__(self) -> None:
        super().__init__()
        self._before = torch.cuda.memory_allocated()

    @contextmanager
    def update(self) -> Iterator[None]:
        """The update that counts."""
        torch.cuda.reset_peak_memory_stats()
        yield
        self.peak = torch.cuda.max_memory_allocated() - self._before


@contextmanager
def measuring(device: str) -> Iterator[Peak]:
    """Measure all that is allocated inside beyond what there is.

    Raises:
        StateError: no update, or more than one, was made inside.
    """
    if device != "cpu":
        yield DevicePeak()
        return
    found = Peak()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        yield found
    if profile.profiler is None or profile.profiler.kineto_results is None:
        raise StateError("torch's profiler gave no results")
    events: Any = profile.profiler.kineto_results.events()
    steps = [event for event in events if event.name() == "update"]
    if len(steps) != 1:
        raise StateError(f"{len(steps)} updates were made where one is measured")
    moves = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held = zip((when for when, _ in moves), accumulate(size for _, size in moves), strict=True)
    start, end = steps[0].start_ns(), steps[0].start_ns() + steps[0].duration_ns()
    found.peak = max((size for when, size in held if start <= when <= end), default=0)
