"""The plan of an episode: which rows it learns, in which order, and what was measured before them.

It is written into the episode's entry before the first of them is learned, so that one that was broken off is
read back from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tenuto.config import EpisodeConfig
from tenuto.errors import ConfigError
from tenuto.reports import Reason
from tenuto.session.corrections import learned, waiting
from tenuto.session.episodes.assessment import Assess, wrong
from tenuto.session.episodes.measuring import measured
from tenuto.session.episodes.recall import Asked
from tenuto.session.episodes.reports import Measures
from tenuto.session.screen import Screen, hold
from tenuto.session.session import Session
from tenuto.store.cursor import Cursor
from tenuto.store.records import Entry


class Plan:
    """Rows to be learned.

    Args:
        session: where they wait.
        reason: why the episode begins.
        config: how many rows are learned, asked and learned again.

    Attributes:
        number: of the episode.
        seqs: the rows, in order.
        over: of those that are learned again, the row each takes the place of.
        before: what was measured before.
        begun: the episode's entry; None: it has not begun.
        held: rows that were laid aside for review.
    """

    def __init__(self, session: Session, reason: Reason, config: EpisodeConfig) -> None:
        self._session, self._journal, self._config = session, session.home.journal, config
        self._screen = screened(session)
        self.reason, self.begun = reason, broken(session)
        self.number, self.held = 1 + last(session, "number", 0), 0
        self.seqs: list[int] = []
        self.over: dict[int, int] = {}
        self.before = Measures()
        if self.begun is not None:
            body = self.begun.plain()
            self.number, self.seqs, self.over = body["number"], body["seqs"], dict(body["over"])
            self.before = Measures.of(body["before"])
            self.reason = Reason(cause=body["cause"], found=body["found"])

    def collect(self, doubted: Sequence[str]) -> str:
        """Take what waits, and approved rows that are answered wrong; in words."""
        if self.begun is not None:
            left = len(self.seqs) - sum(map(self.known, self.seqs))
            return f"episode {self.number} was broken off; {left} of its {len(self.seqs)} rows are left"
        session, cursor = self._session, self._session.fold.cursor
        rows = [*self._journal.fetch(cursor.pending), *waiting(self._journal, cursor)]
        asked = Asked(self._journal, self._screen.corrections, self._config, session.learner.config.seed)
        approved = asked.rows(cursor, doubted)
        self.before = measured(session.learner, approved, anchors=self._config.asked)
        again = asked.again(session, self.before.wrong, self.number)
        self.over = {new.seq: old for new, old in again}
        found = dict.fromkeys(entry.seq for entry in (*(new for new, _ in again), *rows))
        self.seqs = [*found][: self._config.rows]
        more = f", and {len(again)} approved rows that are answered wrong" if again else ""
        return f"{len(rows)} rows wait{more}"

    def assess(self, hooks: Sequence[Assess]) -> str:
        """Hold what contradicts an approved answer, and what a hook finds something in; in words."""
        if self.begun is not None:
            return "it was done before"
        way, aside = self._session.way, self._aside()
        self._screen.look(way)
        for entry in self._journal.fetch(self.seqs):
            found = wrong(*self._screen.corrections.said(entry), hooks)
            if found is not None and entry.seq not in self.over:
                hold(way, entry, found)
        way.obey()
        way.commit()
        self.held = self._aside() - aside
        self.seqs = [seq for seq in self.seqs if not self.known(seq)]
        return f"{len(self.seqs)} rows are to be learned, {self.held} held for review"

    def begin(self, settings: dict[str, Any]) -> None:
        """Write the episode's entry, with the settings it is learned under."""
        body = {
            "number": self.number,
            "cause": self.reason.cause,
            "found": self.reason.found,
            "seqs": self.seqs,
            "over": sorted(self.over.items()),
            "before": self.before.to_plain(),
            **settings,
        }
        self._session.way.order("episode", body)
        self._session.way.obey()
        self._session.snapshot()
        self.begun = self._journal.newest("episode")

    def known(self, seq: int) -> bool:
        """Was this row learned, or laid aside?"""
        cursor = self._session.fold.cursor
        return learned(seq, cursor) or cursor.is_aside(seq)

    @property
    def made(self) -> list[int]:
        """The rows that were learned so far."""
        cursor = self._session.fold.cursor
        return [seq for seq in self.seqs if learned(seq, cursor) and not cursor.is_aside(seq)]

    def weights(self, names: Sequence[str]) -> dict[str, Tensor]:
        """The weights with which the episode began, from the snapshot taken there; {} where there is none."""
        for row in self._session.home.snapshots.list() if self.begun is not None else ():
            if self.begun is not None and Cursor.of(row.cursor).done == self.begun.seq:
                state = self._session.home.snapshots.read(row).state["model"]
                return {name: state[name].float() for name in names}
        return {}

    def _aside(self) -> int:
        return sum(last - first + 1 for first, last in self._session.fold.cursor.aside)


def screened(session: Session) -> Screen:
    """The session's screen. Raises ConfigError where it has none."""
    if session.way.screen is None:
        raise ConfigError("episodes are of a home that learns language; this one learns another task")
    return session.way.screen


def broken(session: Session) -> Entry | None:
    """The entry of the episode that began and has no outcome yet."""
    begun, outcome = (session.home.journal.newest(kind) for kind in ("episode", "outcome"))
    if begun is None or (outcome is not None and outcome.plain()["number"] >= begun.plain()["number"]):
        return None
    return begun


def last(session: Session, name: str, default: Any) -> Any:
    """What the newest outcome says."""
    outcome = session.home.journal.newest("outcome")
    return default if outcome is None else outcome.plain().get(name, default)
