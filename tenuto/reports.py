"""What a learner tells of itself: its counters, a consolidation and the reason for it, a drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineLearnerStats:
    """Counters of a learner.

    Args:
        examples: rows learned.
        steps: updates made.
        replayed: rows drawn from memory so far.
        refused: rows whose update a guard rejected.
        consolidations: times `consolidate` was called.
        running_loss: exponential mean of the loss over about 100 steps; None before the first.
        remembered: rows in memory.
        domains: rows learned by domain; rows without one are not counted here.

    >>> from tenuto import Learner
    >>> Learner().stats.examples
    0
    """

    examples: int
    steps: int
    replayed: int
    refused: int
    consolidations: int
    running_loss: float | None
    remembered: int
    domains: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsolidationReport:
    """What a consolidation did.

    Args:
        number: how many there were, this one included.
        parts: the method's parts that closed their context.
        updates: updates made, in rehearsal and in sleep.
        recent: recent rows that were held, for the sleep to learn again.
        scored: remembered rows whose score was taken anew.
        spared: remembered rows of groups with more than their share, which new rows replace first.
        loss_before, loss_after: the mean loss of the rows held, around the updates; None without a sleep.

    >>> ConsolidationReport(number=1, parts=("teacher",), updates=0).parts
    ('teacher',)
    """

    number: int
    parts: tuple[str, ...]
    updates: int
    recent: int = 0
    scored: int = 0
    spared: int = 0
    loss_before: float | None = None
    loss_after: float | None = None


class Reason(Struct, frozen=True, kw_only=True):
    """Why a consolidation, or an episode, is due: the cause, and what was found in words.

    >>> Reason(cause="rows", found="1,000 rows were learned").cause
    'rows'
    """

    cause: Literal["asked", "correction", "verifier", "drift", "rows", "inferences", "hour", "clock", "idle"]
    found: str


class DriftReport(Struct, frozen=True, kw_only=True):
    """A detector found that the stream moved: the new part is `window`, [start, end) in values seen.

    `p_value` bounds the chance of such a statistic without drift, None where no formula gives it; `rises`
    says whether the mean rose, None where there is no telling.
    """

    detector: str
    statistic: float
    threshold: float
    p_value: float | None
    window: tuple[int, int]
    reason: str
    rises: bool | None = None
