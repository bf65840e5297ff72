"""Page-Hinkley (Page 1954; Sebastiao & Fernandes 2017): a cumulative sum that has left its extreme.

s_t = alpha s_{t-1} + (x_t - mean_t) - delta; a drift upwards where s_t - min s > threshold. Downwards
likewise, with + delta and the maximum. Reports fall on the same values as those of River 0.26 do; like there,
all begins anew after one. There is no rate of false alarms to ask for: the threshold is in the stream's own
unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from tenuto.config import Limits
from tenuto.drift.shared.readings import number
from tenuto.drift.shared.saved import take
from tenuto.reports import DriftReport
from tenuto.types import State

if TYPE_CHECKING:
    from torch import Tensor


class PageHinkley:
    """A two-sided cumulative sum around the running mean."""

    reads = "numbers"

    def __init__(self, min_instances: int, delta: float, threshold: float, alpha: float, mode: str) -> None:
        self._min_instances = min_instances
        self._delta = delta
        self._threshold = threshold
        self._alpha = alpha
        self._mode = mode
        self._seen = 0
        self._reset()

    def _reset(self) -> None:
        self._n = 0
        self._mean = 0.0
        self._rise = 0.0
        self._fall = 0.0
        self._lowest = 0.0
        self._highest = 0.0
        self._lowest_at = self._seen
        self._highest_at = self._seen

    def update(self, value: float | Tensor) -> DriftReport | None:
        """Take a number."""
        x = number(value)
        self._seen += 1
        self._n += 1
        self._mean += (1.0 / self._n) * (x - self._mean)
        gap = x - self._mean
        self._rise = self._alpha * self._rise + gap - self._delta
        self._fall = self._alpha * self._fall + gap + self._delta
        if self._n == 1 or self._rise < self._lowest:
            self._lowest, self._lowest_at = self._rise, self._seen
        if self._n == 1 or self._fall > self._highest:
            self._highest, self._highest_at = self._fall, self._seen
        if self._n < self._min_instances:
            return None
        up, down = self._rise - self._lowest, self._highest - self._fall
        if self._mode != "down" and up > self._threshold:
            return self._report("risen", up, self._lowest_at)
        if self._mode != "up" and down > self._threshold:
            return self._report("fallen", down, self._highest_at)
        return None

    def _report(self, way: str, statistic: float, start: int) -> DriftReport:
        report = DriftReport(
            detector="page_hinkley",
            statistic=statistic,
            threshold=self._threshold,
            p_value=None,
            window=(min(start, self._seen - 1), self._seen),
            reason=f"the mean has {way}: the sum of deviations left its extreme by {statistic:.4g}",
            rises=way == "risen",
        )
        self._reset()
        return report

    def state(self) -> State:
        """The mean, both sums and their extremes."""
        return {
            "seen": self._seen,
            "n": self._n,
            "mean": self._mean,
            "rise": self._rise,
            "fall": self._fall,
            "lowest": self._lowest,
            "highest": self._highest,
            "lowest_at": self._lowest_at,
            "highest_at": self._highest_at,
        }

    def load_state(self, state: State) -> None:
        """Take saved sums."""
        take(self, state)


def detector(
    min_instances: Annotated[int, Limits(low=1, unit="values")] = 30,
    delta: Annotated[float, Limits(low=0.0, usual=(0.001, 0.1))] = 0.005,
    threshold: Annotated[float, Limits(low=0.0, usual=(5.0, 100.0))] = 50.0,
    alpha: Annotated[float, Limits(low=0.0, high=1.0, usual=(0.99, 1.0))] = 1 - 0.0001,
    mode: Annotated[str, Limits(choices=("up", "down", "both"))] = "both",
) -> PageHinkley:
    """Page-Hinkley over numbers of any scale.

    Args:
        min_instances: values before the first test.
        delta: the change of the mean that is tolerated, in the stream's unit.
        threshold: how far a sum may leave its extreme, in the stream's unit.
        alpha: what is kept of a sum at each value.
        mode: watch for the mean to go up, down, or both.

    >>> sums = detector(threshold=10.0)
    >>> reports = [sums.update(float(i >= 500)) for i in range(600)]
    >>> [report.window for report in reports if report]
    [(500, 511)]
    """
    return PageHinkley(min_instances, delta, threshold, alpha, mode)
