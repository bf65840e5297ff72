"""Refuses an update whose norm is far above what the run is used to.

    z = (log |u| - median) / (1.4826 MAD) > spreads, over the last 512 updates that were kept

once for the norm itself and once for the norm over the residual, |u| / rms(softmax(p) - y): both must be
unusual. A new class, or any surprise, raises the gradient by raising the residual at the outputs, and the
second score does not see it; a burst of weight, a broken row or an exploding layer raises it beyond that.

Error rate: for log-normal norms, independent of each other, P(z > 6) with median and MAD estimated from the
history is 2e-6 with 64 updates in it and 5e-9 with 512; for logarithms with Laplace tails 1.8e-3 and 1.1e-3
(simulated). Both tests must agree, which only lowers it. Norms that stay high are the new usual: after
`patience` refusals in a row the history starts again and 64 updates pass unjudged, so that no stream is
refused for ever.

A clip at 3 x median changes every large step and belongs to the optimizer; a guard says yes or no.
"""

from __future__ import annotations

import math
from typing import Annotated

from tenuto.config import Limits
from tenuto.guards.shared.history import History
from tenuto.guards.shared.residuals import norm, residual
from tenuto.types import KEEP, Ruling, State, Trace, Verdict

WINDOW, FIRST, LEAST = 512, 64, 0.1
"""Updates remembered; updates before the first judgement; the least spread believed of a logarithm."""


class NormBudget:
    """Refuse a norm beyond what was usual."""

    def __init__(self, spreads: float, patience: int) -> None:
        self._spreads, self._patience = spreads, patience
        self._norms = History(WINDOW, least=LEAST)
        self._ratios = History(WINDOW, least=LEAST)
        self._refused = 0

    def judge(self, trace: Trace) -> Verdict:
        """Reject a norm that is unusual, and unusual for these residuals; note what was kept."""
        size = norm(trace)
        if not math.isfinite(size):
            return Verdict(Ruling.REJECT, f"the update of step {trace.step} is not finite")
        gap = residual(trace.estimate.outputs, trace.batch.targets)
        if size == 0.0 or not 0.0 < gap < math.inf:
            return KEEP
        level, ratio = math.log(size), math.log(size / gap)
        z = min(self._norms.z(level), self._ratios.z(ratio))
        if len(self._norms) >= FIRST and z > self._spreads:
            self._refused += 1
            usual = math.exp(self._norms.median)
            if self._refused >= self._patience:
                self._norms.restart()
                self._ratios.restart()
                self._refused = 0
            return Verdict(
                Ruling.REJECT,
                f"the update of step {trace.step} has norm {size:.4g}, {z:.1f} deviations above {usual:.4g}",
            )
        self._norms.note(level)
        self._ratios.note(ratio)
        self._refused = 0
        return KEEP

    def state(self) -> State:
        """The norms kept and the refusals in a row."""
        return {"norms": self._norms.state(), "ratios": self._ratios.state(), "refused": self._refused}

    def load_state(self, state: State) -> None:
        """Take saved norms."""
        self._norms.load_state(state["norms"])
        self._ratios.load_state(state["ratios"])
        self._refused = int(state["refused"])


def guard(
    spreads: Annotated[float, Limits(low=1.0, usual=(4.0, 10.0), unit="standard deviations")] = 6.0,
    patience: Annotated[int, Limits(low=1, usual=(3, 20), unit="updates")] = 5,
) -> NormBudget:
    """The update-norm budget.

    Args:
        spreads: how far above its median the logarithm of a norm may lie.
        patience: refusals in a row after which what is high counts as usual.

    >>> guard().state()["refused"]
    0
    """
    return NormBudget(spreads, patience)
