"""Exact unlearning: what fits is wiped from disk, as far back as the model can be made anew without it."""

from __future__ import annotations

from collections.abc import Sequence

from tenuto.errors import ConfigError
from tenuto.session import recovery
from tenuto.session.walk import Walk
from tenuto.store.records import Erased


def erase(
    walk: Walk, *, id: str | Sequence[str] | None, source: str | None, principal: str | None
) -> tuple[Erased, int | None]:
    """Erase the rows that fit all that is given, and those derived from them, and go back to before them.

    Returns:
        What was erased, and the step gone back to; None where the learner had not seen them.

    Raises:
        ConfigError: nothing fits.
        OutOfReach: a row was learned before the oldest kept snapshot; nothing was changed.
    """
    journal = walk.home.journal
    ids = () if id is None else (id,) if isinstance(id, str) else tuple(id)
    found = [journal.seqs(id=one, source=source, principal=principal) for one in ids or (None,)]
    seqs = journal.descendants(seq for some in found for seq in some)
    if seqs and recovery.saw(walk.fold.cursor, seqs):
        recovery.unseen(walk.home, seqs)
    erased = journal.erase(seqs, reason="asked", ids=ids, source=source, principal=principal)
    if not erased.entries and not erased.quarantined:
        journal.database.trust()
        wanted = id or source or principal
        raise ConfigError(f"there is nothing of {wanted!r} to forget; it was never taken, or is forgotten")
    return erased, walk.heed()
