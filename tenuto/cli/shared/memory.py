"""What lies in a home's replay memory, by class, read from the journal without torch."""

from __future__ import annotations

from collections import Counter

import msgspec

from tenuto.store import survey
from tenuto.store.home import Home
from tenuto.streams.body import read

DRAWN = 512
"""Rows that are read, at most: spread evenly over the slots."""
READ = 8 << 20
"""Bytes that are read, about, at most."""


class Composition(msgspec.Struct, frozen=True, kw_only=True):
    """What memory holds.

    Args:
        rows: slots in use.
        read: how many of them were looked at.
        classes: of those, how many hold each label, in the labels' order; {} under regression.
    """

    rows: int
    read: int
    classes: dict[int | str, int]


def composition(home: Home) -> Composition:
    """The labels in memory."""
    seqs = [*home.ledger.memory().values()]
    counts = home.journal.counts()
    size = max(1, counts["bytes"] // max(1, counts["live"]))
    stride = -(-len(seqs) // max(1, min(DRAWN, READ // size)))
    found: Counter[int | str] = Counter()
    drawn = survey.bodies(home, seqs[:: max(1, stride)])
    for body in drawn:
        label = _label(body)
        if label is not None:
            found[label] += 1
    ordered = sorted(found.items(), key=lambda item: (isinstance(item[0], str), item[0]))
    return Composition(rows=len(seqs), read=len(drawn), classes=dict(ordered))


def _label(body: bytes) -> int | str | None:
    """The label in a body; None where it holds none, or is damaged."""
    try:
        target = read(body).target
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return target if isinstance(target, int | str) else None
