"""Rows and labels that come apart: what the home holds under an id completes what comes under it.

A row without a label is set apart until its label comes, with the row again or alone, under its id. It is
then learned as if it had come whole, and no longer set apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from tenuto.errors import ExampleError
from tenuto.store.journal import Journal
from tenuto.store.records import Quarantined, Refused
from tenuto.streams.encoding import decode, encode
from tenuto.types import OnlineExample


def completed(row: OnlineExample, journal: Journal, refused: Sequence[Refused] = ()) -> OnlineExample:
    """A label that comes alone gets the input under its id, and what was learned already its label; any
    other row stays as it is. The row stays its sender's, whoever sends the label.

    Args:
        refused: rows set apart and not yet in the journal.

    Raises:
        ExampleError: a label came alone, and there is no row under its id.

    >>> import tempfile, pathlib
    >>> journal = Journal(pathlib.Path(tempfile.mkdtemp()) / "ingest.db")
    >>> waits = Refused(body=encode(OnlineExample(input=[0.5, 1.0])), id="a7", reason="no label yet")
    >>> row = completed(OnlineExample(input=None, target="cat", id="a7"), journal, [waits])
    >>> row.input, row.target
    (array([0.5, 1. ], dtype=float32), 'cat')
    """
    id = row.id
    if not isinstance(id, str) or (row.input is None) == (row.target is None):
        return row
    if row.target is None:
        known = _learned(id, journal)
        if known is None:
            return row
        whole = msgspec.structs.replace(row, target=known.target)
        return whole if encode(whole) == encode(known) else row
    found = _waiting(id, journal, refused) or _learned(id, journal)
    if found is None:
        raise ExampleError(f"a label came for row {id!r}, and no row waits for one; send the row with it")
    sender = found.principal or row.principal
    return msgspec.structs.replace(found, id=id, target=row.target, principal=sender)


def _waiting(id: str, journal: Journal, refused: Sequence[Refused]) -> OnlineExample | None:
    """The newest row set apart under an id for want of a label."""
    apart: list[Quarantined | Refused] = [*journal.quarantined(id=id)]
    for one in reversed([*apart, *(row for row in refused if row.id == id)]):
        with suppress(ExampleError):
            found = decode(one.body)
            if found.target is None:
                return msgspec.structs.replace(found, principal=one.principal)
    return None


def _learned(id: str, journal: Journal) -> OnlineExample | None:
    """The row that was accepted under an id, where its content is still kept."""
    entry = journal.lookup(id)
    if entry is None or not entry.body:
        return None
    return msgspec.structs.replace(decode(entry.body), principal=entry.principal)
