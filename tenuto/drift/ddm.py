"""DDM (Gama et al. 2004): the error rate of a learner should fall, and where it rises the world has moved.

A drift where p + s > p_min + c s_min, with p the error rate, s = sqrt(p (1 - p) / n) its deviation, p_min and
s_min from where p + s was least. Reports fall on the same values as those of River 0.26 do; like there, all
begins anew after one. The least of many sums is compared with, so `c` deviations are no rate of false alarms;
after a start without any error the first one is reported.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Annotated

from tenuto.config import Limits
from tenuto.drift.shared.readings import number
from tenuto.drift.shared.saved import take
from tenuto.reports import DriftReport
from tenuto.types import State

if TYPE_CHECKING:
    from torch import Tensor


class Ddm:
    """The running error rate beside its best."""

    reads = "errors"

    def __init__(self, warm_start: int, drift_threshold: float) -> None:
        self._warm_start = warm_start
        self._drift_threshold = drift_threshold
        self._seen = 0
        self._reset()

    def _reset(self) -> None:
        self._n = 0
        self._p = 0.0
        self._p_min: float | None = None
        self._s_min = 0.0
        self._best_at = self._seen

    def update(self, value: float | Tensor) -> DriftReport | None:
        """Take an error in [0, 1]: 1 where the learner was wrong, 0 where it was right."""
        x = number(value, low=0.0, high=1.0)
        self._seen += 1
        self._n += 1
        self._p += (1.0 / self._n) * (x - self._p)
        if self._n <= self._warm_start:
            return None
        p, s = self._p, sqrt(max(self._p * (1 - self._p), 0.0) / self._n)
        if self._p_min is None or p + s <= self._p_min + self._s_min:
            self._p_min, self._s_min, self._best_at = p, s, self._seen
        bound = self._p_min + self._drift_threshold * self._s_min
        if not p + s > bound:
            return None
        report = DriftReport(
            detector="ddm",
            statistic=p + s,
            threshold=bound,
            p_value=None,
            window=(self._best_at, self._seen),
            reason=f"the error rate is {p:.4g}, at its best it was {self._p_min:.4g}",
            rises=True,
        )
        self._reset()
        return report

    def state(self) -> State:
        """The error rate and its best."""
        return {
            "seen": self._seen,
            "n": self._n,
            "p": self._p,
            "p_min": self._p_min,
            "s_min": self._s_min,
            "best_at": self._best_at,
        }

    def load_state(self, state: State) -> None:
        """Take a saved error rate."""
        take(self, state)


def detector(
    warm_start: Annotated[int, Limits(low=1, usual=(30, 100), unit="values")] = 30,
    drift_threshold: Annotated[float, Limits(low=0.0, usual=(2.0, 4.0), unit="deviations")] = 3.0,
) -> Ddm:
    """DDM over errors in [0, 1].

    Args:
        warm_start: values before the first test.
        drift_threshold: deviations by which the error rate may stand above its best.

    >>> ddm = detector()
    >>> reports = [ddm.update(float(i % 10 == 0 or i >= 500)) for i in range(550)]
    >>> [report.window for report in reports if report]
    [(500, 515)]
    """
    return Ddm(warm_start, drift_threshold)
