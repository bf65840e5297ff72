"""Keeps a learner from diverging: overshooting steps are made smaller, a climb of the loss is rolled back.

Overshoot. A loss is never negative, so no step can lower it by more than all of it. The step u promises, to
first order, to lower L by -<g, u>; where that is more than `overshoot` times L the step is made smaller,

    u <- u * overshoot * L / -<g, u>

On a quadratic bowl with its minimum at 0 the promise is 2 lr h L at curvature h: 2 L is the step to the
bottom, beyond 4 L the loss grows at every step, and the default of 1 is the stochastic Polyak step (Loizou et
al. 2021). It looks at no history, and so acts on the first update that is too large. A new class does not set
it off: a large loss explains a large gradient.

Climb. The mean loss of the replayed rows, which new rows do not raise before they are learned, above that of
a uniform guess (ln c under c classes) and more than `spreads` robust standard deviations above the median of
the last 256, `patience` times in a row: ROLLBACK. Forgetting alone does not reach ln c.

Error rate: making a step smaller refuses no row. After a climb the next `rest` updates are not tested for
one, so of n updates with a finite loss at most 1 + n / 1,000 are refused whatever the stream, and no learner
is frozen. Where the replayed losses are log-normal and independent, three in a row beyond 6 deviations have
chance 1e-27. `python -m benchmarks.guards` measures what is refused, and the delay.

What it cannot see: a gradient that is not the loss's (SLDA), the pull of a penalty, a loss that is negative.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch

from tenuto.config import Limits
from tenuto.guards.shared.history import History
from tenuto.guards.shared.residuals import chance, replayed_loss
from tenuto.trees import Tree
from tenuto.types import KEEP, Ruling, State, Trace, Verdict

WINDOW, FIRST, LEAST = 256, 64, 0.05
"""Replayed losses remembered, as logarithms; how many before the first test; the least spread believed."""


class Divergence:
    """Smaller steps where they overshoot; a rollback where the loss of the past climbs."""

    def __init__(self, overshoot: float, spreads: float, patience: int, rest: int) -> None:
        self._overshoot, self._spreads, self._patience, self._rest = overshoot, spreads, patience, rest
        self._history = History(WINDOW, least=LEAST)
        self._high, self._calm = 0, max(0, rest - FIRST)

    def judge(self, trace: Trace) -> Verdict:
        """Reject what is not finite, roll back from a climb, make an overshooting update smaller."""
        loss = float(trace.estimate.loss)
        if not math.isfinite(loss):
            return Verdict(Ruling.REJECT, f"the loss of step {trace.step} is {loss}")
        promise = -_dot(trace.estimate.grads, trace.update.tree) * trace.update.scale
        if not math.isfinite(promise):
            return Verdict(Ruling.REJECT, f"the update of step {trace.step} is not finite")
        if climb := self._climb(trace):
            return Verdict(Ruling.ROLLBACK, climb, back=self._patience)
        most = self._overshoot * loss
        if 0 < most < promise:
            reason = (
                f"the update of step {trace.step} promises to lower a loss of {loss:.4g} by {promise:.4g}"
            )
            return Verdict(Ruling.KEEP, reason, scale=most / promise)
        return KEEP

    def _climb(self, trace: Trace) -> str:
        """What climbed, or nothing; notes the loss of the replayed rows."""
        loss = replayed_loss(trace)
        if loss is None:
            return ""
        self._calm = min(self._calm + 1, self._rest)
        level = math.log(max(loss, 1e-6))
        unusual = self._calm == self._rest and loss > chance(trace) and self._history.z(level) > self._spreads
        self._high = self._high + 1 if unusual else 0
        if self._high >= self._patience:
            usual = math.exp(self._history.median)
            self._history.restart()
            self._high = self._calm = 0
            return (
                f"the replayed rows' loss rose to {loss:.4g} at step {trace.step}; its median is {usual:.4g}"
            )
        self._history.note(level)
        return ""

    def state(self) -> State:
        """The replayed losses and how long they were calm, and high."""
        return {"history": self._history.state(), "high": self._high, "calm": self._calm}

    def load_state(self, state: State) -> None:
        """Take saved losses and counts."""
        self._history.load_state(state["history"])
        self._high, self._calm = int(state["high"]), int(state["calm"])


def _dot(a: Tree, b: Tree) -> float:
    """The inner product of two trees, without a product as large as they are."""
    dots = [torch.dot(x.reshape(-1), b[name].reshape(-1)) for name, x in a.items()]
    return torch.stack(dots).sum().item() if dots else 0.0


def guard(
    overshoot: Annotated[float, Limits(low=0.01, usual=(0.5, 2.0))] = 1.0,
    spreads: Annotated[float, Limits(low=1.0, usual=(4.0, 10.0), unit="standard deviations")] = 6.0,
    patience: Annotated[int, Limits(low=1, usual=(2, 5), unit="updates")] = 3,
    rest: Annotated[int, Limits(low=32, usual=(1000, 10000), unit="updates")] = 1000,
) -> Divergence:
    """The divergence guard.

    Args:
        overshoot: the most of its loss a step may promise to remove.
        spreads: how far above their median replayed losses count as high.
        patience: high ones in a row that make a climb.
        rest: updates after a climb in which none is looked for.

    >>> guard().state()["calm"]
    936
    """
    return Divergence(overshoot, spreads, patience, rest)
