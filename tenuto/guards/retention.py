"""Freezes the learner when it has demonstrably lost what it knew, by a paired test on held-out items.

    CRS = mean over held-out groups of score now / score at the reference

It freezes when CRS has fallen by more than `drop` AND the exact McNemar test (1947), one-sided, on the same
items then and now gives p < level / evaluations: of b items lost and c gained, p = P(Bin(b + c, 1/2) >= b).
The reference is the first evaluation, replaced by a later one that is better at p < 0.001, so that luck in a
single evaluation does not become the mark to be kept, and a slow decline is measured from its top.

Error rate: a learner that has not got worse is frozen in at most `level` (1 %) of runs of `evaluations` (20),
by Bonferroni over the evaluations; `python -m benchmarks.guards` measures it, and the power, by simulation.
Power needs items: with 400, a drop of 8 points is found with probability 0.9 where at most 12 % of the items
change sides, with 800 where at most 24 % do. By construction a drop of exactly `drop` is found half the
time at best.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from tenuto.config import Limits
from tenuto.errors import ConfigError
from tenuto.types import KEEP, Ruling, State, Trace, Verdict

FEWEST, BETTER = 400, 1e-3
"""Items an evaluation needs at least; the p-value below which a better one becomes the reference."""


def tail(at_least: int, n: int, chance: float = 0.5) -> float:
    """P(X >= at_least) for X binomial (n, chance), summed in logarithms from the largest term down.

    >>> round(tail(8, 10), 4), tail(0, 10), tail(11, 10)
    (0.0547, 1.0, 0.0)
    """
    if at_least <= 0:
        return 1.0
    if chance <= 0.0 or chance >= 1.0:
        return float(chance >= 1.0 and at_least <= n)
    p, q = math.log(chance), math.log1p(-chance)
    whole = math.lgamma(n + 1)
    terms = [
        whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * p + (n - k) * q
        for k in range(at_least, n + 1)
    ]
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def mcnemar(before: Tensor, after: Tensor) -> float:
    """The p-value of "no worse than before", for right answers (n,) to the same n items.

    >>> before = torch.ones(10, dtype=torch.bool); after = before.clone(); after[:5] = False
    >>> mcnemar(before, after)
    0.03125
    """
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    return tail(lost, lost + gained)


def crs(before: Tensor, after: Tensor, groups: Tensor) -> float:
    """The mean over groups (n,) of the score now over the score before; a group without a score is left out.

    >>> right = torch.tensor([1, 1, 1, 1]).bool()
    >>> crs(right, torch.tensor([1, 0, 1, 1]).bool(), torch.tensor([0, 0, 1, 1]))
    0.75
    """
    codes = (groups[:, None] > groups.new_tensor(sorted(set(groups.tolist())))).sum(1)
    was, now = codes.bincount(before.double()), codes.bincount(after.double())
    scored = was > 0
    return float((now[scored] / was[scored]).mean()) if bool(scored.any()) else 1.0


class Retention:
    """Freeze on a proven loss; refuse every update until thawed."""

    def __init__(self, drop: float, level: float, evaluations: int) -> None:
        self._drop, self._alpha = drop, level / evaluations
        self._reference = torch.zeros(0, dtype=torch.bool)
        self._groups = torch.zeros(0, dtype=torch.int64)
        self._frozen = ""

    @property
    def frozen(self) -> str:
        """Why it refuses every update; empty where it does not."""
        return self._frozen

    def judge(self, trace: Trace) -> Verdict:
        """Refuse while frozen."""
        return Verdict(Ruling.FREEZE, self._frozen) if self._frozen else KEEP

    def check(self, groups: Tensor) -> None:
        """Return where items in groups (n,) can be evaluated.

        Raises:
            ConfigError: they are fewer than 400, or others than before.
        """
        if groups.dim() != 1 or len(groups) < FEWEST:
            raise ConfigError(f"held-out items in groups {tuple(groups.shape)}; give n >= {FEWEST}")
        if len(self._groups) and not torch.equal(groups.long().cpu(), self._groups):
            raise ConfigError("the held-out items are not those of the reference; `rebase` before new ones")

    def evaluate(self, right: Tensor, groups: Tensor) -> Verdict:
        """Judge right answers (n,) to n held-out items in groups (n,), the same ones every time.

        Raises:
            ConfigError: fewer than 400 items, or others than before.
        """
        right, groups = right.bool().cpu(), groups.long().cpu()
        if right.shape != groups.shape or right.dim() != 1 or len(right) < FEWEST:
            raise ConfigError(
                f"{tuple(right.shape)} answers in {tuple(groups.shape)} groups; give n of each, n >= {FEWEST}"
            )
        self.check(groups)
        if not len(self._groups):
            self._reference, self._groups = right.clone(), groups.clone()
            return KEEP
        score, p = crs(self._reference, right, groups), mcnemar(self._reference, right)
        if 1.0 - score > self._drop and p < self._alpha:
            self._frozen = (
                f"retention fell to {score:.3f} of its reference on {len(right)} items, p = {p:.2g}"
            )
            return Verdict(Ruling.FREEZE, self._frozen)
        if mcnemar(right, self._reference) < BETTER:
            self._reference = right.clone()
        return KEEP

    def thaw(self) -> None:
        """Learn again, measured by the same reference: after a rollback."""
        self._frozen = ""

    def rebase(self) -> None:
        """Learn again, measured by the next evaluation: where the loss is accepted."""
        self._frozen, self._reference, self._groups = "", self._reference[:0], self._groups[:0]

    def state(self) -> State:
        """The reference and whether it is frozen."""
        return {
            "reference": self._reference.clone(),
            "groups": self._groups.clone(),
            "frozen": self._frozen,
        }

    def load_state(self, state: State) -> None:
        """Take a saved reference."""
        self._reference, self._groups = state["reference"].clone(), state["groups"].clone()
        self._frozen = str(state["frozen"])


def guard(
    drop: Annotated[float, Limits(low=0.0, high=1.0, usual=(0.02, 0.1))] = 0.05,
    level: Annotated[float, Limits(low=1e-6, high=0.5, usual=(0.001, 0.05))] = 0.01,
    evaluations: Annotated[int, Limits(low=1, usual=(10, 100))] = 20,
) -> Retention:
    """The retention guard.

    Args:
        drop: the fall of CRS that matters.
        level: the chance of a false freeze within that many evaluations.
        evaluations: how many the level is for.

    >>> guard().state()["frozen"]
    ''
    """
    return Retention(drop, level, evaluations)
