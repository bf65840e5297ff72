"""When an episode begins: after corrections, flagged answers, so many answers, a drift, or quiet.

What was counted is kept in the home, beside the steps and no part of them, so that one process may count and
another learn. What was decided is the entry of the episode, with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tenuto.config import EpisodeConfig
from tenuto.consolidation import ConsolidationScheduler
from tenuto.consolidation.feedback import Feedback
from tenuto.reports import Reason
from tenuto.session.corrections import waiting
from tenuto.session.episodes.assessment import Assess, private, quality
from tenuto.session.episodes.episode import Episode, OnStage
from tenuto.session.episodes.gauge import Gauge
from tenuto.session.episodes.plan import broken, screened
from tenuto.session.episodes.reports import EpisodeReport
from tenuto.session.episodes.verifier import Flag, Verifier
from tenuto.session.session import Session

INFERENCES = 1000
IDLE = 300.0
NOTE = "episodes"


def scheduler(*, inferences: int | None = None, idle: float | None = None) -> ConsolidationScheduler:
    """Due after a correction, a flag, a drift, so many answers, or so many seconds without a row.

    Args:
        inferences, idle: None: a thousand, and five minutes.

    >>> when = scheduler()
    >>> when.seen(3, now=0.0); when.answered(1000); when.due(now=1.0)
    Reason(cause='inferences', found='1,000 questions were answered')
    """
    return ConsolidationScheduler(
        corrections=1, flags=1, drifts=1, inferences=inferences or INFERENCES, idle=idle or IDLE
    )


class Episodes:
    """The episodes of a session.

    Args:
        session: it learns language.
        when: says when one is due; None: `scheduler()`.
        verifier: asked about answers that are told to `answered`; None: nobody is.
        hooks: assess the rows; one that finds something has the row laid aside, with the reason.
        config: bounds, pace, and how much is measured.
        feedback: how what an episode forgot sets the next one.
        clock: of the bound in time, in seconds.

    Raises:
        ConfigError: the session learns no language.
    """

    def __init__(
        self,
        session: Session,
        *,
        when: ConsolidationScheduler | None = None,
        verifier: Verifier | None = None,
        hooks: Sequence[Assess] = (quality, private()),
        config: EpisodeConfig | None = None,
        feedback: Feedback | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        screened(session)
        self._session = session
        self._when = scheduler() if when is None else when
        self._verifier, self._hooks, self._clock = verifier, hooks, clock
        self._config = EpisodeConfig() if config is None else config
        self._feedback = Feedback() if feedback is None else feedback
        noted = session.home.ledger.noted(NOTE)
        self._doubted: list[str] = noted.get("doubted", [])
        self._seen: int = noted.get("seen", 0)
        if noted:
            self._when.load_state(noted["when"])

    def corrected(self, rows: int, now: float) -> None:
        """So many explicit corrections were taken down, to be learned by an episode."""
        self._look(now)
        self._when.corrected(rows, now)
        self._note()

    def answered(self, question: str, answer: str) -> Flag | None:
        """The model answered so; what the verifier finds wrong with it."""
        self._when.answered()
        flag = None if self._verifier is None else self._verifier(question, answer)
        if flag is not None:
            self._when.flagged(flag.reason)
            if flag.id is not None and flag.id not in self._doubted:
                self._doubted.append(flag.id)
        self._note()
        return flag

    def due(self, now: float) -> Reason | None:
        """Why an episode is due at this time, in seconds, or None."""
        self._session.way.tell(self._when, now)
        self._look(now)
        self._note()
        begun = broken(self._session)
        if begun is not None:
            return Reason(cause=begun.plain()["cause"], found=begun.plain()["found"])
        return None if self._session.frozen else self._when.due(now)

    def run(self, now: float, reason: Reason | None = None, on_stage: OnStage = None) -> EpisodeReport | None:
        """Make the episode that is due; None where none is.

        Args:
            reason: why one is made that is not due.
            on_stage: called after each step.
        """
        reason = reason or self.due(now)
        if reason is None:
            return None
        made = Episode(
            self._session,
            reason,
            config=self._config,
            feedback=self._feedback,
            hooks=self._hooks,
            doubted=self._doubted,
            gauge=Gauge(self._config, self._clock),
        )
        report = made.run(on_stage)
        self._session.way.tell(self._when, now)
        self._when.rested(now)
        self._doubted = []
        if report.waiting:
            self._when.seen(report.waiting, now)
        self._note()
        return report

    def _look(self, now: float) -> None:
        """Tell the scheduler of the rows that wait and that it has not been told of."""
        rows = [
            entry.seq for entry in waiting(self._session.home.journal, self._session.fold.cursor, self._seen)
        ]
        if rows:
            self._when.seen(len(rows), now)
            self._seen = rows[-1]

    def _note(self) -> None:
        told = {"when": self._when.state(), "doubted": self._doubted, "seen": self._seen}
        self._session.home.ledger.note(NOTE, told)
