"""ADWIN (Bifet & Gavalda 2007): a window that grows while its mean stands, and is cut where it moved.

A cut into n0 older and n1 newer values is a drift where |mean0 - mean1| > sqrt(2 m v d) + 2/3 m d, with m =
1/(n0 - L + 1) + 1/(n1 - L + 1), v the window's variance, d = ln(2 ln(n) / delta), L the shortest part.
Invariant: the window is kept in rows of buckets, row i of at most `max_buckets` buckets of 2^i values: a
state of O(max_buckets log n). Reports fall on the same values as those of River 0.26 do; like there, the
window begins anew after one. Of the cuts that are a drift the least likely is reported. The bound is for
values in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log, sqrt
from typing import TYPE_CHECKING, Annotated

from msgspec import Struct

from tenuto.config import Limits
from tenuto.drift.shared.readings import number
from tenuto.reports import DriftReport
from tenuto.types import State

if TYPE_CHECKING:
    from torch import Tensor


class Cut(Struct, frozen=True):
    """A window in two: its parts' sizes, how far the newer mean lies above, bounds on both."""

    old: float
    new: float
    rise: float
    bound: float
    p_value: float


class Adwin:
    """An adaptive window over a stream of numbers."""

    reads = "numbers"

    def __init__(self, delta: float, clock: int, max_buckets: int, shortest: int, grace: int) -> None:
        self._delta = delta
        self._clock = clock
        self._max = max_buckets
        self._shortest = shortest
        self._grace = grace
        self._seen = 0
        self._reset()

    def _reset(self) -> None:
        self._rows: list[list[list[float]]] = [[]]
        self._width = 0
        self._ticks = 0
        self._total = 0.0
        self._squares = 0.0

    def update(self, value: float | Tensor) -> DriftReport | None:
        """Take a number; look for a cut at every `clock`-th one since the last report."""
        self._insert(number(value))
        self._seen += 1
        self._ticks += 1
        if self._ticks % self._clock or self._width <= self._grace:
            return None
        cut = min(self._cuts(), key=lambda cut: cut.p_value, default=None)
        if cut is None:
            return None
        self._reset()
        return DriftReport(
            detector="adwin",
            statistic=abs(cut.rise),
            threshold=cut.bound,
            p_value=cut.p_value,
            window=(self._seen - int(cut.new), self._seen),
            reason=f"the means of the older {cut.old:.0f} and the newer {cut.new:.0f} values differ by "
            f"{abs(cut.rise):.4g}, more than {cut.bound:.4g}",
            rises=cut.rise > 0,
        )

    def _insert(self, x: float) -> None:
        """Add a bucket of one value; the two oldest of a row that is too long become one of the next."""
        if self._width:
            gap = x - self._total / self._width
            self._squares += self._width * gap * gap / (self._width + 1)
        self._width += 1
        self._total += x
        self._rows[0].append([x, 0.0])
        for i, row in enumerate(self._rows):
            if len(row) <= self._max:
                return
            size = 2.0**i
            (total, squares), (other, others) = row[:2]
            gap = total / size - other / size
            merged = squares + others + size * size * gap * gap / (size + size)
            if i + 1 == len(self._rows):
                self._rows.append([])
            self._rows[i + 1].append([total + other, merged])
            del row[:2]

    def _buckets(self) -> Iterator[tuple[float, float]]:
        """Size and total of each bucket, the oldest first."""
        for i in range(len(self._rows) - 1, -1, -1):
            for total, _ in self._rows[i]:
                yield 2.0**i, total

    def _cuts(self) -> Iterator[Cut]:
        """The cuts whose two parts differ by more than the bound."""
        n0, n1, u0, u1 = 0.0, float(self._width), 0.0, self._total
        d = log(2 * log(self._width) / self._delta)
        variance = max(self._squares / self._width, 0.0)
        for size, total in self._buckets():
            n0, n1, u0, u1 = n0 + size, n1 - size, u0 + total, u1 - total
            if n1 < self._shortest:
                return
            if n0 < self._shortest:
                continue
            m = 1 / (n0 - self._shortest + 1) + 1 / (n1 - self._shortest + 1)
            rise = u1 / n1 - u0 / n0
            distance = abs(rise)
            bound = sqrt(2 * m * variance * d) + 2 / 3 * d * m
            if distance > bound:
                root = _root(2 / 3 * m, sqrt(2 * m * variance), distance)
                yield Cut(n0, n1, rise, bound, min(1.0, 2 * log(self._width) * exp(-root * root)))

    def state(self) -> State:
        """The buckets, and the sums over them."""
        return {
            "seen": self._seen,
            "rows": [[list(bucket) for bucket in row] for row in self._rows],
            "width": self._width,
            "ticks": self._ticks,
            "total": self._total,
            "squares": self._squares,
        }

    def load_state(self, state: State) -> None:
        """Take saved buckets."""
        seen, width, ticks = state["seen"], state["width"], state["ticks"]
        total, squares = state["total"], state["squares"]
        self._rows = [[list(bucket) for bucket in row] for row in state["rows"]]
        self._seen, self._width, self._ticks, self._total, self._squares = seen, width, ticks, total, squares


def _root(a: float, b: float, c: float) -> float:
    """The positive r with a r^2 + b r = c."""
    return (sqrt(b * b + 4 * a * c) - b) / (2 * a)


def detector(
    delta: Annotated[float, Limits(low=1e-12, high=1.0, usual=(0.001, 0.05))] = 0.002,
    clock: Annotated[int, Limits(low=1, unit="values")] = 32,
    max_buckets: Annotated[int, Limits(low=2, usual=(4, 10), unit="buckets")] = 5,
    min_window_length: Annotated[int, Limits(low=1, unit="values")] = 5,
    grace_period: Annotated[int, Limits(low=1, unit="values")] = 10,
) -> Adwin:
    """ADWIN over numbers in [0, 1], as errors, accuracies or scaled losses.

    Args:
        delta: a bound on the chance of a false alarm at each look.
        clock: values between two looks.
        max_buckets: buckets of a size that are kept before two become one.
        min_window_length: the shortest part that a cut may leave.
        grace_period: values before the first look.

    >>> adwin = detector()
    >>> reports = [adwin.update(float(i >= 500)) for i in range(600)]
    >>> [report.window for report in reports if report]
    [(488, 512)]
    """
    return Adwin(delta, clock, max_buckets, min_window_length, grace_period)
