"""Rests: when a clock says so, and what it is told.

What was decided is an entry of the journal, with the reason, before anything acts on it; so the state is a
function of the journal whatever the clock does, and a replay needs none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tenuto.protocols import Scheduler
from tenuto.reports import DriftReport

MOST = 64
"""Drifts that are kept until a scheduler asks."""


class News:
    """What happened since a scheduler was last told: rows learned, drifts found.

    Args:
        examples: rows the learner has learned so far.
    """

    def __init__(self, examples: int) -> None:
        self._examples = examples
        self._drifts: deque[DriftReport] = deque(maxlen=MOST)

    def found(self, drifts: Sequence[DriftReport]) -> None:
        """A step found these."""
        self._drifts.extend(drifts)

    def tell(self, scheduler: Scheduler, examples: int, now: float) -> None:
        """Tell it how many rows came since, and which drifts; `now` in seconds.

        >>> from tenuto.consolidation import ConsolidationScheduler
        >>> news, scheduler = News(0), ConsolidationScheduler(rows=100)
        >>> news.tell(scheduler, 60, now=0.0); news.tell(scheduler, 120, now=1.0)
        >>> scheduler.due(1.0).found
        '120 rows were learned'
        """
        scheduler.seen(max(examples - self._examples, 0), now)
        self._examples = examples
        while self._drifts:
            scheduler.drifted(self._drifts.popleft())
