"""Which approved corrections an episode asks, and which of them it learns again: those answered wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from tenuto.config import EpisodeConfig
from tenuto.randomness import choose
from tenuto.session.corrections import Corrections
from tenuto.session.session import Session
from tenuto.store.cursor import Cursor
from tenuto.store.journal import Journal
from tenuto.store.records import Entry
from tenuto.streams.encoding import decode

SOURCE = "episode"


class Asked:
    """Draws among the approved corrections.

    Args:
        journal: where they lie.
        corrections: knows which are approved.
        config: how many are asked, and learned again.
        seed: key of the draws.
    """

    def __init__(self, journal: Journal, corrections: Corrections, config: EpisodeConfig, seed: int) -> None:
        self._journal, self._corrections, self._config, self._seed = journal, corrections, config, seed

    def rows(self, cursor: Cursor, doubted: Collection[str]) -> list[Entry]:
        """Approved corrections, in order: those that are doubted, and others drawn among the rest."""
        known = [*self._corrections.all(cursor)]
        first = {entry.seq for id in doubted if (entry := self._journal.lookup(id)) is not None}
        chosen = first.intersection(known)
        rest = [seq for seq in known if seq not in chosen]
        count = min(max(self._config.asked - len(chosen), 0), len(rest))
        if count:
            drawn = choose(self._seed, "episode", cursor.done, count, len(rest))[0]
            chosen.update(rest[int(number)] for number in drawn)
        return [entry for entry in self._journal.fetch(sorted(chosen)) if entry.status == "live"]

    def again(self, session: Session, wrong: Sequence[int], number: int) -> list[tuple[Entry, int]]:
        """Acknowledge approved rows once more under new ids, each derived from the one it takes the place of.

        An id is learned once; so what is learned again has one of its own, and is forgotten with the other.
        """
        rows = self._journal.fetch(wrong[: self._config.again])
        ids = [f"{row.id}#{number}" for row in rows]
        session.ingest(
            [
                msgspec.structs.replace(
                    decode(row.body or b""), id=id, derived_from=(row.id or "",), principal=row.principal
                )
                for row, id in zip(rows, ids, strict=True)
            ],
            source=SOURCE,
        )
        found = [(self._journal.lookup(id), row.seq) for row, id in zip(rows, ids, strict=True)]
        return [(entry, old) for entry, old in found if entry is not None and entry.status == "live"]
