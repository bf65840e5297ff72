"""What a session tells while it learns, and after it forgot."""

from __future__ import annotations

from dataclasses import dataclass

from tenuto.store.records import Receipt


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a stream was learned.

    Args:
        source: the file or pipe being read.
        rows: rows read from it so far, in this and earlier runs.
        total: rows it holds, where that is known.
        read: rows of the newest chunk.
        receipt: what became of them.
    """

    source: str
    rows: int
    total: int | None
    read: int
    receipt: Receipt


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """What a forgetting did.

    Args:
        entries: journal entries whose content is gone, derived ones included.
        quarantined: quarantined rows that went with them.
        rebuilt_from: the step the model was rebuilt from; None where it had not seen them yet.
        digest: of the state that never saw them.
    """

    entries: int
    quarantined: int
    rebuilt_from: int | None
    digest: str
