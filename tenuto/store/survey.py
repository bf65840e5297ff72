"""A home at a glance: who writes it, what waits, what was set apart, how large it is.

Read beside a writer, without the lock and without torch; the cost of every answer is bounded by what is
asked for, never by the length of the journal.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tenuto.store.cursor import Cursor
from tenuto.store.home import BLOBS, JOURNAL, LEDGER, LOCK, Home
from tenuto.store.records import CurvePoint, Entry, Quarantined, Source
from tenuto.store.schema import EXAMPLE, LIVE

WITHIN = f"SELECT count(*) FROM entries WHERE seq > ? AND seq <= ? AND kind = '{EXAMPLE}' AND status = {LIVE}"


CONTRADICTS = re.compile("it contradicts (.*), which is approved", re.DOTALL)


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """Where the live rows of a home are.

    Args:
        learned: read by the learner, those it could not learn included.
        queued: acknowledged and not yet learned.
        aside: read and not learned, as a reset or a guard would have it.
    """

    learned: int
    queued: int
    aside: int


def rows(home: Home) -> Rows:
    """Where the live rows are."""
    cursor, live = Cursor.of(home.ledger.head.cursor), home.journal.counts()["live"]
    count = home.journal.database.value
    ahead = sum(seq > cursor.seq for seq in cursor.taken)
    queued = count(WITHIN, (cursor.seq, home.journal.last_seq)) + len(cursor.pending) - ahead
    aside = sum(count(WITHIN, (first - 1, last)) for first, last in cursor.aside)
    return Rows(learned=live - queued - aside, queued=queued, aside=aside)


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was acknowledged, and is not part of the model.

    Args:
        step: the last one that left it out; None: a reset did, or the step is no longer kept.
        reason: in words.
    """

    id: str
    source: str | None
    principal: str | None
    received_at: float
    body: bytes
    step: int | None
    reason: str


def lies_aside(home: Home, id: str) -> bool:
    """Is there a row of this id, and does it lie aside?"""
    entry = home.journal.lookup(id)
    return entry is not None and Cursor.of(home.ledger.head.cursor).is_aside(entry.seq)


def aside(home: Home, limit: int) -> list[Aside]:
    """The rows that lie aside, the newest first."""
    found: list[Entry] = []
    for first, last in reversed(Cursor.of(home.ledger.head.cursor).aside):
        while last >= first and len(found) < limit:
            start = max(first, last - limit)
            some = home.journal.fetch(range(last, start - 1, -1))
            found += [e for e in some if e.status == "live" and e.kind == EXAMPLE]
            last = start - 1
    found = found[:limit]
    if not found:
        return []
    left_out = home.ledger.database.rows(
        "SELECT k, first_seq, last_seq, verdict FROM steps WHERE first_seq <= ? AND last_seq >= ?"
        " AND substr(verdict, 1, instr(verdict, ':')) IN ('evict:', 'hold:', 'reject:', 'rollback:')"
        " ORDER BY k DESC",
        (max(entry.seq for entry in found), min(entry.seq for entry in found)),
    )
    return [_aside(entry, left_out) for entry in found]


def _aside(entry: Entry, left_out: Sequence[tuple[int, int, int, str]]) -> Aside:
    why = ((k, verdict) for k, first, last, verdict in left_out if first <= entry.seq <= last)
    step, reason = next(why, (None, "a reset set it aside"))
    return Aside(
        id=entry.id or "",
        source=entry.source,
        principal=entry.principal,
        received_at=entry.received_at,
        body=entry.body or b"",
        step=step,
        reason=reason,
    )


def contradicted(home: Home, row: Aside) -> bytes | None:
    """The body of the approved row that a row lies aside for contradicting; None where there is none."""
    found = CONTRADICTS.fullmatch(row.reason.removeprefix("hold: "))
    entry = None if found is None else home.journal.lookup(found[1])
    return None if entry is None else entry.body


def frozen(home: Home) -> str | None:
    """Why the learner waits for a thaw or a rollback; None where it does not."""
    newest = home.ledger.steps(after=home.ledger.head.k - 1)
    verdict = newest[-1].verdict if newest else ""
    return verdict.removeprefix("freeze: ") if verdict.startswith("freeze: ") else None


def episode(home: Home) -> dict[str, Any] | None:
    """The newest learning episode and what was measured after it; None before the first.

    Of one that has not ended everything but number and reason is None.
    """
    begun, outcome = home.journal.newest("episode"), home.journal.newest("outcome")
    if begun is None:
        return None
    body, ended = begun.plain(), {} if outcome is None else outcome.plain()
    if ended.get("number") != body["number"]:
        ended = {}
    after = ended.get("after", {})
    return {
        **{name: body[name] for name in ("number", "cause", "found")},
        **{name: ended.get(name) for name in ("learned", "held", "stopped", "seconds", "memory_bytes")},
        **{name: ended.get(name) for name in ("forgetting", "drift", "next", "candidate")},
        **{name: after.get(name) for name in ("retention", "accumulation", "perplexity")},
    }


def sources(home: Home) -> list[Source]:
    """How far each source was read, the one read last first."""
    read = home.journal.database.rows(
        "SELECT name, offset, fingerprint, read_at FROM sources ORDER BY 4 DESC"
    )
    return [Source(name=name, offset=offset, fingerprint=mark, read_at=at) for name, offset, mark, at in read]


def recent(home: Home, steps: int) -> CurvePoint | None:
    """The newest steps as one stretch; None before the first."""
    newest = home.ledger.curve(1, after=home.ledger.head.k - steps)
    return newest[0] if newest else None


def quarantine(home: Home, limit: int) -> list[Quarantined]:
    """The rows set apart last, newest first."""
    first = home.journal.database.value(
        "SELECT n FROM quarantine ORDER BY n DESC LIMIT 1 OFFSET ?", (limit - 1,)
    )
    return home.journal.quarantined(after=(first or 1) - 1, limit=limit)[::-1]


def bodies(home: Home, seqs: Sequence[int]) -> list[bytes]:
    """The bodies of these entries that are still kept, by one query; their hashes are not checked."""
    found = home.journal.database.rows(
        "SELECT body FROM bodies JOIN entries USING (seq) JOIN json_each(?) ON seq = value"
        f" WHERE status = {LIVE}",
        (json.dumps(seqs),),
    )
    return [body for (body,) in found]


def writer(path: Path) -> str | None:
    """The process that has a home open for writing; None where none has."""
    with suppress(FileNotFoundError), (path / LOCK).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "unknown"
    return None


def disk(path: Path) -> dict[str, int]:
    """Bytes on disk: `journal`, `ledger` and `blobs`."""
    return {
        name: sum(map(_size, path.glob(pattern)))
        for name, pattern in (("journal", f"{JOURNAL}*"), ("ledger", f"{LEDGER}*"), ("blobs", f"{BLOBS}/*/*"))
    }


def _size(file: Path) -> int:
    """Bytes of a file; 0 where a writer has just removed it."""
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0
