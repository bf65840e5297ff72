"""The cursor: where a learner stands in the journal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Place = tuple[int, int]
"""(seq, done): every entry up to seq was read, and of the commands that act there those up to done."""


@dataclass(slots=True)
class Cursor:
    """The learner's place in the journal, small whatever the journal's length.

    Args:
        seq: every entry up to here was read.
        done: the last command carried out at this place.
        pending: seqs read and not yet learned: less than a batch.
        taken: seqs beyond `seq` that were learned ahead of their turn.
        aside: [first, last] stretches that a reset set aside, or a guard kept from being learned.
        obeyed: the last `forget` the learner has answered.
        answered: the last `rollback` it has gone back for.
    """

    seq: int = 0
    done: int = 0
    pending: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    aside: list[list[int]] = field(default_factory=list)
    obeyed: int = 0
    answered: int = 0

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Cursor:
        """From plain data."""
        return cls(**json.loads(json.dumps(dict(plain))))

    def to_plain(self) -> dict[str, Any]:
        """As plain data that shares nothing with this cursor."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @property
    def place(self) -> Place:
        """Where it stands, to be compared."""
        return (self.seq, self.done)

    def set_aside(self, first: int, last: int) -> None:
        """Set a stretch aside, but for what was taken ahead out of it."""
        for seq in [*sorted(s for s in self.taken if first <= s <= last), last + 1]:
            if first < seq:
                self.aside.append([first, seq - 1])
            first = seq + 1
        self.taken = [seq for seq in self.taken if seq > last]

    def lay_aside(self, seqs: Iterable[int]) -> None:
        """Lay rows aside that were read and not learned.

        >>> cursor = Cursor(seq=9)
        >>> cursor.lay_aside([4, 5, 7])
        >>> cursor.aside
        [[4, 5], [7, 7]]
        """
        for seq in sorted(seqs):
            if self.aside and self.aside[-1][1] == seq - 1:
                self.aside[-1][1] = seq
            else:
                self.aside.append([seq, seq])

    def is_aside(self, seq: int) -> bool:
        """Was it set aside, and not taken up again?"""
        return any(first <= seq <= last for first, last in self.aside)

    def requeue(self, seq: int) -> bool:
        """Take one seq out of what lies aside; False where it does not."""
        for i, (first, last) in enumerate(self.aside):
            if first <= seq <= last:
                self.aside[i : i + 1] = [s for s in ([first, seq - 1], [seq + 1, last]) if s[0] <= s[1]]
                return True
        return False
