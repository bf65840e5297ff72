"""CPU times that can be compared, and a table to print them in.

Cases that are compared run in one process, in many short rounds whose order alternates, so that a
slow moment of the machine falls on all of them alike; a case is the median of its rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Times:
    """Microseconds of CPU per step, one number per round."""

    rounds: list[float]

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.rounds)

    def over(self, floor: Times) -> tuple[float, float, float]:
        """The ratio round by round: its median and its quartiles."""
        low, middle, high = statistics.quantiles(
            [a / b for a, b in zip(self.rounds, floor.rounds, strict=True)], method="inclusive"
        )
        return middle, low, high


class Clock:
    """CPU time spent in some methods, call by call."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def time(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, timed."""

        def timed(*given: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return call(*given, **named)
            finally:
                self.spent[part] = self.spent.get(part, 0.0) + time.process_time() - start

        return timed

    @contextmanager
    def over(self, part: str, *places: tuple[Any, str]) -> Iterator[None]:
        """Within this, calls of these are timed: each an owner and the name of its attribute."""
        held = [(owner, name, getattr(owner, name)) for owner, name in places]
        for owner, name, call in held:
            setattr(owner, name, self.time(part, call))
        try:
            yield
        finally:
            for owner, name, call in held:
                setattr(owner, name, call)


def interleave(cases: Mapping[str, Step], *, rounds: int, steps: int, warm: int = 40) -> dict[str, Times]:
    """Time `steps` calls of every case in each round, after `warm` untimed ones; odd rounds go backwards."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        for name in list(cases) if number % 2 == 0 else reversed(list(cases)):
            step = cases[name]
            for _ in range(warm):
                step()
            start = time.process_time()
            for _ in range(steps):
                step()
            times[name].append((time.process_time() - start) / steps * 1e6)
    return {name: Times(microseconds) for name, microseconds in times.items()}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their names: the first to the left, the others to the right."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.rjust(widths[i]) if i else cell.ljust(widths[i]) for i, cell in enumerate(line))
        for line in lines
    )
