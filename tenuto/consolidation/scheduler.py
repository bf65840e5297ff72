"""The consolidation scheduler: when should a learner rest, or an episode begin? After rows, time, quiet or
drift; after corrections, answers that were flagged, or so many answers with something new to learn.

It only tells; whoever asks consolidates, writing what a clock decided down before it acts (a session's
`rest` does), so that a replay needs no clock. It reads none itself: it is told the time, in seconds.

A clock may jump. Where it steps back, every moment that is remembered steps back with it, so that time
spent stays spent and nothing waits for a future that was a mistake; where it leaps ahead, one rest is due,
not many.
"""

from __future__ import annotations

from tenuto.config import Limits, check
from tenuto.reports import DriftReport, Reason
from tenuto.types import State

DAY = 86400.0


class ConsolidationScheduler:
    """Says when a consolidation is due; only a drift or a flag makes one due where no row came since.

    Args:
        rows: after so many rows.
        seconds: so long after the last one.
        hour: once a day, when the clock passes this hour; in [0, 24), UTC.
        idle: when no row came for so many seconds.
        drifts: after so many reports of a drift that made things worse.
        corrections: after so many explicit corrections.
        flags: after so many answers that a verifier flagged.
        inferences: after so many answers.

    Raises:
        ConfigError: one of them is out of bounds.

    >>> scheduler = ConsolidationScheduler(rows=100, idle=60.0)
    >>> scheduler.seen(30, now=0.0)
    >>> scheduler.due(now=59.0)
    >>> scheduler.due(now=60.0)
    Reason(cause='idle', found='no row came for 60 s')
    >>> scheduler.rested(now=61.0)
    >>> scheduler.due(now=500.0)
    >>> scheduler.seen(100, now=501.0)
    >>> scheduler.due(now=501.0)
    Reason(cause='rows', found='100 rows were learned')
    """

    def __init__(
        self,
        *,
        rows: int | None = None,
        seconds: float | None = None,
        hour: float | None = None,
        idle: float | None = None,
        drifts: int | None = None,
        corrections: int | None = None,
        flags: int | None = None,
        inferences: int | None = None,
    ) -> None:
        check("rows", rows, int | None, Limits(low=1))
        check("seconds", seconds, float | None, Limits(low=1e-3))
        check("hour", hour, float | None, Limits(low=0.0, high=24 - 1e-9))
        check("idle", idle, float | None, Limits(low=1e-3))
        counts = {"drifts": drifts, "corrections": corrections, "flags": flags, "inferences": inferences}
        for name, count in counts.items():
            check(name, count, int | None, Limits(low=1))
        self._every, self._seconds, self._hour, self._idle, self._after = rows, seconds, hour, idle, counts
        self._now: float | None = None
        self._rested = self._row = 0.0
        self._struck: float | None = None
        self._strikes = False
        self._rows = 0
        self._counts = dict.fromkeys(counts, 0)
        self._reason = self._doubt = ""

    def seen(self, rows: int, now: float) -> None:
        """So many rows were learned. Raises ConfigError for a negative count or a time that is no number."""
        check("rows", rows, int, Limits(low=0))
        self._tell(now)
        if rows:
            self._rows += rows
            self._row = float(now)

    def drifted(self, report: DriftReport) -> None:
        """A detector reported; that errors fell is no more than learning, and does not count."""
        if report.rises is not False:
            self._counts["drifts"] += 1
            self._reason = report.reason

    def corrected(self, rows: int, now: float) -> None:
        """So many corrections came, which are rows too."""
        self.seen(rows, now)
        self._counts["corrections"] += rows

    def flagged(self, found: str) -> None:
        """A verifier flagged an answer, for this reason."""
        self._counts["flags"] += 1
        self._doubt = found

    def answered(self, count: int = 1) -> None:
        """So many questions were answered."""
        check("count", count, int, Limits(low=0))
        self._counts["inferences"] += count

    def _reached(self, name: str) -> bool:
        after = self._after[name]
        return after is not None and self._counts[name] >= after

    def due(self, now: float) -> Reason | None:
        """Why a consolidation is due, or None; it stays due until `rested`."""
        self._tell(now)
        rested, row = now - self._rested, now - self._row
        if self._reached("drifts"):
            return Reason(cause="drift", found=self._reason)
        if self._reached("flags"):
            return Reason(cause="verifier", found=self._doubt)
        if not self._rows:
            return None
        if self._reached("corrections"):
            return Reason(cause="correction", found=f"{self._counts['corrections']:,} came")
        if self._reached("inferences"):
            return Reason(cause="inferences", found=f"{self._counts['inferences']:,} questions were answered")
        if self._every is not None and self._rows >= self._every:
            return Reason(cause="rows", found=f"{self._rows:,} rows were learned")
        if self._strikes:
            return Reason(cause="hour", found=f"the clock passed {self._hour:g} h")
        if self._seconds is not None and rested >= self._seconds:
            return Reason(cause="clock", found=f"the last one was {rested:,.0f} s ago")
        if self._idle is not None and row >= self._idle:
            return Reason(cause="idle", found=f"no row came for {row:,.0f} s")
        return None

    def rested(self, now: float) -> None:
        """A consolidation was made, whoever asked for it: rows, reports and time count anew."""
        self._tell(now)
        self._rows, self._counts = 0, dict.fromkeys(self._counts, 0)
        self._rested = float(now)
        self._strikes = False

    def _tell(self, now: float) -> None:
        """Take the time. A clock that went back takes every remembered moment with it."""
        check("now", now, float, Limits())
        before, self._now = self._now, float(now)
        if before is None:
            self._rested = self._row = self._now
        elif self._now < before:
            back = self._now - before
            self._rested += back
            self._row += back
            self._struck = None if self._struck is None else self._struck + back
        elif self._hour is not None and self._day(self._now) > self._day(before):
            if self._struck is None or self._now - self._struck >= DAY / 2:
                self._strikes = True
            self._struck = self._now

    def _day(self, now: float) -> float:
        """The number of the day that begins at the hour. Within half a day the same hour strikes once."""
        return (now - (self._hour or 0.0) * 3600) // DAY

    def state(self) -> State:
        """What was told since the last consolidation, and when."""
        return {
            "now": self._now,
            "rested": self._rested,
            "row": self._row,
            "struck": self._struck,
            "strikes": self._strikes,
            "rows": self._rows,
            "counts": dict(self._counts),
            "reason": self._reason,
            "doubt": self._doubt,
        }

    def load_state(self, state: State) -> None:
        """Take what was told to another one."""
        for name, value in {name: state[name] for name in self.state()}.items():
            setattr(self, f"_{name}", dict(value) if isinstance(value, dict) else value)


def crosses(every: int | None, before: int, rows: int) -> bool:
    """Does a stream of `before` rows pass a multiple of `every` with these ones? Never where that is None.

    >>> [crosses(10, before, 4) for before in range(0, 24, 4)]
    [False, False, True, False, True, False]
    """
    return every is not None and (before + rows) // every > before // every
