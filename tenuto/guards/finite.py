"""Refuses an update that is not finite.

The loss and the sum of each tensor of the update are read: one pass over the update, no copy.
"""

from __future__ import annotations

import math

from tenuto import trees
from tenuto.types import KEEP, Ruling, State, Trace, Verdict


class Finite:
    """Keep what is finite, reject what is not."""

    def judge(self, trace: Trace) -> Verdict:
        """Reject when the loss or any entry of the update is NaN or infinite."""
        loss = float(trace.estimate.loss)
        if not math.isfinite(loss):
            return Verdict(Ruling.REJECT, f"the loss of step {trace.step} is {loss}")
        if not trees.finite(trace.update.tree):
            return Verdict(Ruling.REJECT, f"the update of step {trace.step} is not finite")
        return KEEP

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


def guard() -> Finite:
    """The finite guard."""
    return Finite()
