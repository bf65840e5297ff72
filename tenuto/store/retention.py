"""Retention: the oldest bodies are dropped until the journal is within the bounds its user set.

Ids, hashes and places stay, so that an old duplicate stays a duplicate and a later request to forget knows
what can no longer be undone. Quarantined rows age and count like bodies. A row that bears a time still to
come, from a clock that was ahead, is as old as the next one that does not: it came before it.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import apsw

from tenuto.errors import CorruptHome
from tenuto.store.admission import count
from tenuto.store.database import set_meta
from tenuto.store.disk import RESTORE
from tenuto.store.records import Pruned
from tenuto.store.schema import DROPPED, LIVE


@dataclass(frozen=True, order=True, slots=True)
class _Candidate:
    received_at: float
    key: int
    size: int
    fate: str


def drop(
    connection: apsw.Connection,
    through: int,
    cutoff: float | None,
    max_bytes: int | None,
    pinned: Callable[[int], bool],
    now: float,
) -> Pruned:
    """Drop bodies received before `cutoff`, and the oldest until `max_bytes` hold the rest."""
    before = float("-inf") if cutoff is None else cutoff
    total: int = connection.execute("SELECT sum(bytes) FROM totals").get
    excess = 0 if max_bytes is None else total - max_bytes
    gone: list[_Candidate] = []
    for candidate in heapq.merge(_bodies(connection, through, now), _quarantine(connection, now)):
        if candidate.received_at >= before and excess <= 0:
            break
        if candidate.fate == "quarantined" or not pinned(candidate.key):
            gone.append(candidate)
            excess -= candidate.size
    connection.execute("DELETE FROM idempotency WHERE received_at < ?", (before,))
    return _delete(connection, gone)


def _delete(connection: apsw.Connection, gone: list[_Candidate]) -> Pruned:
    live = [candidate for candidate in gone if candidate.fate == "live"]
    rows = [candidate for candidate in gone if candidate.fate == "quarantined"]
    bodies = [(candidate.key,) for candidate in gone if candidate.fate != "quarantined"]
    connection.executemany("DELETE FROM bodies WHERE seq = ?", bodies)
    connection.executemany(
        f"UPDATE entries SET status = {DROPPED} WHERE seq = ?", [(candidate.key,) for candidate in live]
    )
    connection.executemany("DELETE FROM quarantine WHERE n = ?", [(candidate.key,) for candidate in rows])
    count(connection, "live", -len(live), -sum(candidate.size for candidate in live))
    count(connection, "dropped", len(live), 0)
    count(connection, "quarantined", -len(rows), -sum(candidate.size for candidate in rows))
    if gone:
        set_meta(connection, "moved", True)
    return Pruned(
        entries=len(live), quarantined=len(rows), body_bytes=sum(candidate.size for candidate in gone)
    )


def _bodies(connection: apsw.Connection, through: int, now: float) -> Iterator[_Candidate]:
    received = _received(connection, "entries", "seq", now)
    for seq, at, size, status in connection.execute(
        "SELECT seq, received_at, length(body), status FROM bodies JOIN entries USING (seq)"
        " WHERE seq <= ? ORDER BY seq",
        (through,),
    ):
        yield _candidate(at, seq, size, "live" if status == LIVE else "forgotten", received)


def _quarantine(connection: apsw.Connection, now: float) -> Iterator[_Candidate]:
    received = _received(connection, "quarantine", "n", now)
    for n, at, size in connection.execute("SELECT n, received_at, length(body) FROM quarantine ORDER BY n"):
        yield _candidate(at, n, size, "quarantined", received)


def _received(connection: apsw.Connection, table: str, key: str, now: float) -> Callable[[int, float], float]:
    """When a row came, by its key and the time it bears; `now` where no later row bears a time that was."""
    until, instead = 0, now
    later = f"SELECT {key}, received_at FROM {table} WHERE {key} > ? AND received_at <= ? ORDER BY 1 LIMIT 1"

    def received(n: int, at: float) -> float:
        nonlocal until, instead
        if at <= now:
            return at
        if n >= until:
            until, instead = connection.execute(later, (n, now)).fetchone() or (sys.maxsize, now)
        return instead

    return received


def _candidate(
    at: object, key: int, size: object, fate: str, received: Callable[[int, float], float]
) -> _Candidate:
    """What may be dropped; a time or a size that is none is damage, whatever the schema promises."""
    if not isinstance(at, float) or not isinstance(size, int):
        raise CorruptHome(f"row {key} of the journal has no time of receipt, or no body. {RESTORE}")
    return _Candidate(received(key, at), key, size, fate)
