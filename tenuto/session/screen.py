"""The screen: rows are looked at before they are learned, and those that are a person's to judge lie aside.

A correction that contradicts an approved one is not learned silently: an entry of the journal holds it, with
the reason, and `tenuto review` lists it. A replay reads that entry and screens nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tenuto.config import SessionConfig
from tenuto.learner import Learner
from tenuto.models.language import LanguageModel
from tenuto.session.corrections import Approved, Corrections, tokens, waiting
from tenuto.store.cursor import Cursor
from tenuto.store.journal import Journal
from tenuto.store.records import Entry


class Held(Protocol):
    """A learner at a place."""

    @property
    def cursor(self) -> Cursor: ...


class Orders(Protocol):
    """A walk that takes orders."""

    @property
    def fold(self) -> Held: ...
    def order(self, kind: str, body: dict[str, object]) -> object:
        """Write a command that acts here and now."""


def screen(journal: Journal, learner: Learner, settings: SessionConfig) -> Screen | None:
    """The screen of a home under its settings; None where no language is learned."""
    if learner.config.task != "language":
        return None
    model = learner.model
    speech = model.speech if isinstance(model, LanguageModel) else None
    corrections = Corrections(journal, tokens if speech is None else speech.said)
    return Screen(journal, corrections, holds=settings.contradictions == "review")


class Screen:
    """Holds rows that contradict an approved answer.

    Args:
        journal: where rows wait.
        corrections: what they ask and answer.
        holds: are such rows held? Else they are learned beside the others.
    """

    def __init__(self, journal: Journal, corrections: Corrections, *, holds: bool = True) -> None:
        self._journal, self.corrections, self._holds = journal, corrections, holds
        self._seen = 0

    def look(self, walk: Orders) -> None:
        """Hold those of the waiting rows that came since the last time and contradict an approved answer."""
        for entry in waiting(self._journal, walk.fold.cursor, after=self._seen) if self._holds else ():
            if others := self.corrections.against(entry, walk.fold.cursor):
                hold(walk, entry, reason(others))
            self._seen = entry.seq

    def chosen(self, walk: Orders, rows: Sequence[Entry], *, approved: bool) -> list[Entry]:
        """Those of some rows that may be learned: where nobody approved them, those that contradict nothing.

        Of approved ones that contradict each other the last.
        """
        if not self._holds:
            return list(rows)
        if not approved:
            self.look(walk)
            return [row for row in rows if not self.corrections.against(row, walk.fold.cursor)]
        last = {}
        for row in rows:
            asked, answer = self.corrections.asked(row)
            last[asked] = answer
        return [
            row for row in rows if not (said := self.corrections.asked(row))[0] or last[said[0]] == said[1]
        ]

    def replaced(self, rows: Sequence[Entry], cursor: Cursor) -> list[int]:
        """The seqs of the approved answers that these rows take the place of."""
        found = (
            {one.seq for row in rows for one in self.corrections.against(row, cursor)} if self._holds else ()
        )
        return sorted(found)


def hold(walk: Orders, entry: Entry, why: str) -> None:
    """Lay a row aside before it is learned."""
    walk.order("hold", {"seqs": [entry.seq], "reason": why})


def reason(others: Sequence[Approved]) -> str:
    """Why a row is held; it names entries and quotes none, so that none is kept here once it is forgotten.

    >>> reason([Approved(1, "a7", "mirth")])
    'it contradicts a7, which is approved'
    """
    return f"it contradicts {others[-1].id}, which is approved"
