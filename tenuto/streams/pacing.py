"""How a curriculum paces rows: what may come yet, what waits, and for how long at most.

    c(t) = min(1, (t (1 - c0^p) / T + c0^p)^(1/p))    competence, p = 2 (Platanios et al. 2019, eq. 8)

A row may come once the share of rows easier than it is at most c(t). The invariant: every row comes out
exactly once, and the i-th row in no later than as the (i + patience)-th row out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields
from heapq import heappop, heappush
from itertools import pairwise
from typing import Annotated, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tenuto.config import Limits
from tenuto.errors import ConfigError, StateError
from tenuto.parts import check_options
from tenuto.types import State

T = TypeVar("T")
EASY = -np.inf
"""The difficulty of a row of unknown difficulty: it keeps its place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pacing:
    """How fast the hard rows of a source are let in.

    Args:
        window: rows that may be held in memory: how far is read ahead.
        patience: rows that may come before their turn ahead of one that waits, at most.
        start: c0, the competence before the first row.
        power: p; 1 lets hard rows in at a steady rate, more lets them in sooner at first.
        rows: T, the rows after which every row may come; None: all rows of the source.

    >>> pacing = Pacing(start=0.1)
    >>> [round(pacing.competence(t, 100), 2) for t in (0, 25, 50, 100, 200)]
    [0.1, 0.51, 0.71, 1.0, 1.0]
    """

    window: Annotated[int, Limits(low=1, usual=(64, 65536), unit="rows")] = 8192
    patience: Annotated[int, Limits(low=0, usual=(64, 1048576), unit="rows")] = 16384
    start: Annotated[float, Limits(low=0.0, high=1.0, usual=(0.01, 0.1))] = 0.01
    power: Annotated[float, Limits(low=1.0, high=100.0, usual=(1.0, 10.0))] = 2.0
    rows: Annotated[int | None, Limits(low=1, unit="rows")] = None

    def __post_init__(self) -> None:
        check_options("a curriculum", type(self), {one.name: getattr(self, one.name) for one in fields(self)})

    def competence(self, t: int, total: int) -> float:
        """c(t) after t rows of a source of `total`."""
        base = self.start**self.power
        grown = t * (1.0 - base) / (self.rows or max(total, 1)) + base
        return 1.0 if grown >= 1.0 else float(grown ** (1.0 / self.power))


class Backlog(Generic[T]):
    """Rows that wait for their turn: the oldest that may come, else the easiest; none waits too long.

    Args:
        patience: the i-th row pushed is popped no later than as the (i + patience)-th.

    >>> backlog = Backlog[str](patience=2)
    >>> for row, difficulty in [("hard", 0.9), ("easy", 0.1), ("middle", 0.5), ("easier", 0.0)]:
    ...     backlog.push(row, difficulty)
    >>> [backlog.pop(0.2) for _ in range(4)]
    ['easy', 'easier', 'hard', 'middle']
    """

    def __init__(self, patience: int) -> None:
        if patience < 0:
            raise ConfigError(f"patience is {patience}; give 0 rows or more")
        self._patience = patience
        self._held: dict[int, T] = {}
        self._waiting: list[tuple[float, int]] = []
        self._allowed: list[int] = []
        self._in = 0
        self._out = 0

    def __len__(self) -> int:
        return len(self._held)

    def push(self, row: T, difficulty: float = EASY) -> None:
        """Let a row wait. Raises ConfigError where its difficulty is no number."""
        if difficulty != difficulty:
            raise ConfigError(f"the difficulty of row {self._in} is {difficulty}; give a number")
        self._held[self._in] = row
        heappush(self._waiting, (difficulty, self._in))
        self._in += 1

    def pop(self, allowed: float) -> T:
        """The row whose turn it is, where difficulties up to `allowed` may come; once allowed is for ever.

        Raises:
            ConfigError: none waits.
        """
        if not self._held:
            raise ConfigError("no row waits; push one first")
        while self._waiting and self._waiting[0][0] <= allowed:
            heappush(self._allowed, heappop(self._waiting)[1])
        due = self._out - self._patience
        self._out += 1
        return self._held.pop(due if due in self._held else self._turn())

    def _turn(self) -> int:
        while True:
            number = heappop(self._allowed) if self._allowed else heappop(self._waiting)[1]
            if number in self._held:
                return number


def order(difficulties: NDArray[np.float64], pacing: Pacing) -> NDArray[np.int64]:
    """The offsets of a source's rows in the order a curriculum lets them in: a pure function of both.

    Args:
        difficulties: (n,) of each row by its offset; EASY where unknown.

    Returns:
        (n,) a permutation: the row at offset i stands between i - window + 1 and i + patience.

    >>> pacing = Pacing(window=4, patience=3, start=0.0)
    >>> order(np.array([3.0, 1.0, 2.0, 1.0, 2.0, 3.0]), pacing).tolist()
    [1, 2, 3, 0, 4, 5]
    """
    n = len(difficulties)
    known = np.sort(difficulties[difficulties > EASY])
    easier = np.searchsorted(known, difficulties) / max(len(known), 1)
    backlog, found, pushed = Backlog[int](pacing.patience), np.empty(n, dtype=np.int64), 0
    for t in range(n):
        while pushed < min(n, t + pacing.window):
            backlog.push(pushed, float(easier[pushed]))
            pushed += 1
        found[t] = backlog.pop(pacing.competence(t, n))
    return found


class LevelUp:
    """The level a learner has reached: one up once its running accuracy is high enough.

    For programs that choose their rows by what the learner answers: give `level` to `Backlog.pop`.

    Args:
        levels: in ascending order; it begins at the first.
        threshold: the share of right answers that leads to the next.
        window: answers the share is taken over; as many are waited for at each level.

    >>> reached = LevelUp([1.0, 2.0], threshold=0.75, window=4)
    >>> [reached.update(right) for right in (True, False, True, False, True, True)]
    [False, False, False, False, False, True]
    >>> reached.level
    2.0
    """

    def __init__(self, levels: Sequence[float], *, threshold: float = 0.8, window: int = 100) -> None:
        if not levels or any(not low < high for low, high in pairwise(levels)):
            raise ConfigError(f"levels are {list(levels)}; give at least one, in ascending order")
        if not 0.0 < threshold <= 1.0 or window < 1:
            raise ConfigError(
                f"threshold is {threshold} and window {window}; a share in (0, 1], and at least 1 answer"
            )
        self._levels = tuple(levels)
        self._threshold = threshold
        self._at = 0
        self._right: deque[bool] = deque(maxlen=window)

    @property
    def level(self) -> float:
        """Rows up to this level may come."""
        return self._levels[self._at]

    def update(self, right: bool) -> bool:
        """Take whether a row of this level was answered right before it was learned; whether that led on."""
        answers = self._right
        answers.append(bool(right))
        if self._at + 1 == len(self._levels) or len(answers) < (answers.maxlen or 0):
            return False
        if sum(answers) < self._threshold * len(answers):
            return False
        self._at += 1
        answers.clear()
        return True

    def state(self) -> State:
        """The level and the answers at it."""
        return {"at": self._at, "right": [int(right) for right in self._right]}

    def load_state(self, state: State) -> None:
        """Take a saved level. Raises StateError where these levels have none such."""
        at, right = state["at"], [bool(one) for one in state["right"]]
        if not 0 <= at < len(self._levels) or len(right) > (self._right.maxlen or 0):
            raise StateError(
                f"level {at} with {len(right)} answers is none of this curriculum's; give the levels and "
                "the window it was saved with"
            )
        self._at = at
        self._right.clear()
        self._right.extend(right)
