"""Corrections by what they ask: which answer is approved for a question, and which row contradicts it.

Two questions are the same where their words are, whatever their case, spaces and punctuation. An answer is
approved once it was learned, until it lies aside, is forgotten, or another one has taken its place.

The index is made from the journal, so nothing is saved that could be out of step with it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenuto.models.language import PAD
from tenuto.store.cursor import Cursor
from tenuto.store.journal import Journal
from tenuto.store.records import Entry
from tenuto.store.schema import EXAMPLE
from tenuto.streams.encoding import decode

Words = Callable[[NDArray[Any]], tuple[str, str]]
"""What the input of a row asks, and what it answers; both empty where it asks nothing."""
PUNCTUATION = str.maketrans(dict.fromkeys(".,;:!?¿¡…'\"`´‘’“”«»()[]{}", " "))


class Approved(NamedTuple):
    """A question's answer, in the words they are compared by, and the entry that gave it."""

    seq: int
    id: str
    answer: str


def plain(text: str) -> str:
    """The words of a text, to be compared.

    >>> plain("What is  the capital of Zorland?") == plain("what is the capital of ZORLAND")
    True
    >>> plain("C++ costs 3.5"), plain("C costs 35")
    ('c++ costs 3 5', 'c costs 35')
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().translate(PUNCTUATION).split())


def tokens(row: NDArray[Any]) -> tuple[str, str]:
    """What a coded row asks and answers, as its tokens' numbers: for a model that nobody asks in words.

    >>> tokens(np.array([5, 6, -8, -9, PAD]))
    ('5 6', '7 8')
    """
    used = [int(token) for token in row if token != PAD]
    begun = next((n for n in range(len(used), 0, -1) if used[n - 1] >= 0), 0)
    asked, answered = (
        " ".join(str(~t if t < 0 else t) for t in part) for part in (used[:begun], used[begun:])
    )
    return (asked, answered) if begun > 1 else ("", "")


class Corrections:
    """What a journal's rows ask and answer.

    Args:
        journal: where they lie.
        words: reads a row.
    """

    def __init__(self, journal: Journal, words: Words) -> None:
        self._journal, self._words = journal, words
        self._asked: dict[str, list[Approved]] = {}
        self._replaced: set[int] = set()
        self._read = self._heard = 0

    def asked(self, entry: Entry) -> tuple[str, str]:
        """What an entry asks and answers, in the words they are compared by."""
        asked, answered = self.said(entry)
        return plain(asked), plain(answered)

    def said(self, entry: Entry) -> tuple[str, str]:
        """What an entry asks and answers, as it says it."""
        return self._words(np.asarray(decode(entry.body or b"").input))

    def against(self, entry: Entry, cursor: Cursor) -> list[Approved]:
        """The approved answers to what an entry asks that are others than its own.

        Of rows that wait, the earlier one counts as approved.
        """
        asked, answer = self.asked(entry)
        return [one for one in self.approved(asked, cursor, before=entry.seq) if one.answer != answer]

    def approved(self, question: str, cursor: Cursor, *, before: int = 0) -> list[Approved]:
        """The approved answers to a question, given in the words it is compared by, the oldest first.

        Args:
            cursor: where the learner stands.
            before: rows that wait count as approved where they came before this one.
        """
        self._follow()
        found = [
            one
            for one in self._asked.get(question, ())
            if one.seq != before and (one.seq < before or learned(one.seq, cursor))
            if one.seq not in self._replaced and not cursor.is_aside(one.seq)
        ]
        live = {
            entry.seq for entry in self._journal.fetch(one.seq for one in found) if entry.status == "live"
        }
        return [one for one in found if one.seq in live]

    def similar(self, question: str, cursor: Cursor, *, least: float = 1.0) -> Approved | None:
        """The newest approved answer to a question, or to the likest one with enough words in common.

        Args:
            least: words in common, of all words of both; 1: the same words, in any order.
        """
        if found := self.approved(question, cursor):
            return found[-1]
        words = set(question.split())
        near = [(_common(words, set(known.split())), known) for known in self._asked]
        for share, known in sorted(near, reverse=True):
            if share < least:
                break
            if found := self.approved(known, cursor):
                return found[-1]
        return None

    def all(self, cursor: Cursor) -> Iterator[int]:
        """The seqs of the approved answers to all questions, in order."""
        self._follow()
        seqs = sorted(one.seq for answers in self._asked.values() for one in answers)
        return (
            seq
            for seq in seqs
            if learned(seq, cursor) and seq not in self._replaced and not cursor.is_aside(seq)
        )

    def _follow(self) -> None:
        """Read what came into the journal since the last time."""
        while entries := self._journal.examples(after=self._read):
            self._read = entries[-1].seq
            for entry in entries:
                asked, answer = self.asked(entry)
                if asked:
                    self._asked.setdefault(asked, []).append(Approved(entry.seq, entry.id or "", answer))
        while orders := self._journal.commands(after=self._heard):
            self._heard = orders[-1].seq
            self._replaced.update(seq for one in orders if one.kind == "take" for seq in _over(one))


def _common(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(len(one | other), 1)


def learned(seq: int, cursor: Cursor) -> bool:
    """Was it read by the learner at this place, and does it not wait for its batch?"""
    return (seq <= cursor.seq or seq in cursor.taken) and seq not in cursor.pending


def waiting(journal: Journal, cursor: Cursor, after: int = 0) -> Iterator[Entry]:
    """The examples that were acknowledged and not yet read, in order."""
    taken: Collection[int] = set(cursor.taken)
    after = max(after, cursor.seq)
    while entries := journal.examples(after=after):
        after = entries[-1].seq
        yield from (entry for entry in entries if entry.seq not in taken and entry.kind == EXAMPLE)


def _over(take: Entry) -> Collection[int]:
    found: list[int] = take.plain().get("over", [])
    return found
