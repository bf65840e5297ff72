"""Refuses an update that is not finite.

The loss and the sum of each tensor are read, no copy. Beside an update that is not linear in the gradient
the gradient's norm is read too: AdamW keeps its squares and divides by their root, which hides an overflow.
"""

from __future__ import annotations

import math

from tenuto import trees
from tenuto.types import KEEP, Ruling, State, Trace, Verdict


class Finite:
    """Keep what is finite, reject what is not."""

    def judge(self, trace: Trace) -> Verdict:
        """Reject when the loss, the update or the square of the gradient is not finite."""
        loss, grads, update = float(trace.estimate.loss), trace.estimate.grads, trace.update.tree
        if not math.isfinite(loss):
            return Verdict(Ruling.REJECT, f"the loss of step {trace.step} is {loss}")
        if not trees.finite(update):
            return Verdict(Ruling.REJECT, f"the update of step {trace.step} is not finite")
        if not trace.update.linear and not all(map(trees.squarable, grads.values())):
            return Verdict(Ruling.REJECT, f"the gradient of step {trace.step} is not finite")
        return KEEP

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


def guard() -> Finite:
    """The finite guard."""
    return Finite()
