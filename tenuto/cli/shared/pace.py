"""Now and then: what is due at most once in so many seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """Due at once, and then again after each interval.

    Args:
        seconds: the interval.
        clock: tells the time, in seconds.

    >>> hours = iter([0.0, 1.0, 2.0, 2.5])
    >>> pace = Pace(2.0, clock=lambda: next(hours))
    >>> [pace.due() for _ in range(4)]
    [True, False, True, False]
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _next: float = float("-inf")

    def due(self) -> bool:
        """Is it time? If so, the next time is an interval from now."""
        now = self.clock()
        if now < self._next:
            return False
        self._next = now + self.seconds
        return True
