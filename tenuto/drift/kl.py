"""Kullback-Leibler divergence of the current window from a baseline window, on histograms of numbers.

KL(q || p) = sum q ln(q / p) (Kullback & Leibler 1951), with Dirichlet(0.5) smoothing; a drift where the
chance of it under 2 n' KL ~ chi-squared is at most `rate` divided by the tests in `horizon`. Invariant:
without drift, and with values that do not depend on each other, at most a share `rate` of streams of
`horizon` values is reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from tenuto.config import Limits
from tenuto.drift.shared.readings import number
from tenuto.drift.shared.windows import Plan, Windows
from tenuto.reports import DriftReport
from tenuto.types import State

if TYPE_CHECKING:
    from torch import Tensor


class KL:
    """A baseline histogram and the current one."""

    reads = "numbers"

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._windows = Windows(plan)
        self._seen = 0

    def update(self, value: float | Tensor) -> DriftReport | None:
        """Take a number; every so many are a test."""
        x = number(value)
        self._seen += 1
        found = self._windows.add([x])
        if found is None:
            return None
        return DriftReport(
            detector="kl",
            statistic=found.divergence.kl,
            threshold=found.divergence.threshold,
            p_value=found.divergence.p_value,
            window=(self._seen - self._plan.window, self._seen),
            reason=f"the newest {self._plan.window} values diverge from the baseline by "
            f"{found.divergence.kl:.4g} nats, at least {found.divergence.threshold:.4g}",
            rises=found.rises,
        )

    def state(self) -> State:
        """The windows."""
        return {"seen": self._seen, "windows": self._windows.state()}

    def load_state(self, state: State) -> None:
        """Take saved windows."""
        seen = state["seen"]
        self._windows.load_state(state["windows"])
        self._seen = seen


def detector(
    rate: Annotated[float, Limits(low=1e-9, high=0.5, usual=(0.001, 0.1))] = 0.01,
    horizon: Annotated[int, Limits(low=1, usual=(1000, 1_000_000), unit="values")] = 10_000,
    bins: Annotated[int, Limits(low=2, high=1000, usual=(5, 20), unit="bins")] = 10,
    baseline: Annotated[int, Limits(low=20, high=1_000_000, usual=(200, 5000), unit="values")] = 500,
    window: Annotated[int, Limits(low=20, high=1_000_000, usual=(100, 2000), unit="values")] = 200,
    every: Annotated[int, Limits(low=1, high=1_000_000, usual=(10, 200), unit="values")] = 50,
) -> KL:
    """KL on histograms, over numbers of any scale.

    Args:
        rate: the chance of any false alarm within `horizon` values without drift.
        horizon: over how many values that chance is meant.
        bins: of the histogram, at most; fewer where values repeat.
        baseline: values that are compared with.
        window: the newest values, which are compared.
        every: values between two tests.

    >>> histograms = detector()
    >>> reports = [histograms.update((i * 0.618) % 1 + (i >= 1000)) for i in range(1200)]
    >>> [report.window for report in reports if report]
    [(850, 1050)]
    """
    return KL(Plan(rate=rate, horizon=horizon, bins=bins, baseline=baseline, window=window, every=every))
