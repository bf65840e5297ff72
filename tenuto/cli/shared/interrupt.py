"""Ctrl-C and SIGTERM: the first stops between two steps, the second ends the process at once."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Raises KeyboardInterrupt where the learner is whole: between two steps, or while it waits for rows.

    Attributes:
        signal: what asked to stop; None: nothing did.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._waiting = True
        self._before: dict[int, Any] = {}

    def wait(self) -> None:
        """From here on rows are waited for."""
        self._waiting = True
        self._stop()

    def step(self) -> None:
        """A step was made."""
        self._waiting = False
        self._stop()

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.signal = signal.Signals(number)
        if self._waiting:
            raise KeyboardInterrupt
