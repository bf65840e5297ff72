"""Forgetting on purpose: which entries a request names, and blanking them beyond recovery.

A run that never saw an entry never saw what was derived from it either: `descendants` closes the request
over `derived_from`. The id stays as a tombstone, so that the same row cannot come back; content, hash and
principal go. SQLite overwrites what it empties (secure_delete); the caller then scrubs the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import apsw

from tenuto.errors import ConfigError
from tenuto.store.admission import count
from tenuto.store.database import Database, set_meta
from tenuto.store.schema import EXAMPLE, FORGOTTEN, LIVE

SAME = """
    WHERE id IN (SELECT value FROM json_each(?1)) OR source = ?2 OR principal = ?3 OR EXISTS (
        SELECT 1 FROM json_each(parents) AS parent WHERE parent.value IN (SELECT value FROM json_each(?1)))"""


def matches(database: Database, *, id: str | None, source: str | None, principal: str | None) -> list[int]:
    """Seqs of examples not forgotten that fit every argument given, ascending."""
    given = {"id": id, "source": source, "principal": principal}
    wanted = {column: value for column, value in given.items() if value is not None}
    if not wanted:
        raise ConfigError("name an id, a source or a principal: nothing was named")
    where = " AND ".join(f"{column} = ?" for column in wanted)
    rows = database.rows(
        f"SELECT seq FROM entries WHERE {where}"
        f" AND kind = '{EXAMPLE}' AND status <> {FORGOTTEN} ORDER BY seq",
        tuple(wanted.values()),
    )
    return [seq for (seq,) in rows]


def descendants(database: Database, seqs: Iterable[int]) -> list[int]:
    """The seqs, and those of all examples derived from them, ascending."""
    closed: set[int] = set()
    waiting = list(seqs)
    while waiting:
        seq = waiting.pop()
        if seq not in closed:
            closed.add(seq)
            waiting += [
                child
                for (child,) in database.rows(
                    "SELECT derived.seq FROM entries JOIN derived ON derived.parent = entries.id"
                    " WHERE entries.seq = ?",
                    (seq,),
                )
            ]
    return sorted(closed)


def blank(
    connection: apsw.Connection,
    seqs: Iterable[int],
    ids: Iterable[str],
    source: str | None,
    principal: str | None,
) -> tuple[list[int], int]:
    """Blank entries and delete their quarantined rows; the seqs blanked and the rows deleted."""
    blanked: list[int] = []
    names = set(ids)
    for seq in sorted(set(seqs)):
        id, status, size = _example(connection, seq)
        names.add(id)
        if status == FORGOTTEN:
            continue
        connection.execute(
            f"UPDATE entries SET sha256 = NULL, principal = NULL, status = {FORGOTTEN} WHERE seq = ?", (seq,)
        )
        connection.execute("UPDATE bodies SET body = x'' WHERE seq = ?", (seq,))
        count(connection, "live" if status == LIVE else "dropped", -1, -size)
        count(connection, "forgotten", 1, 0)
        blanked.append(seq)
    return blanked, _forget_quarantined(connection, names, source, principal)


def _forget_quarantined(
    connection: apsw.Connection, names: set[str], source: str | None, principal: str | None
) -> int:
    wanted = (json.dumps(sorted(names)), source, principal)
    sizes: list[int] = [
        size
        for (size,) in connection.execute(f"DELETE FROM quarantine {SAME} RETURNING length(body)", wanted)
    ]
    count(connection, "quarantined", -len(sizes), -sum(sizes))
    if sizes:
        set_meta(connection, "moved", True)
    return len(sizes)


def _example(connection: apsw.Connection, seq: int) -> tuple[str, int, int]:
    row = connection.execute(
        "SELECT id, status, coalesce(length(body), 0), kind FROM entries LEFT JOIN bodies USING (seq)"
        " WHERE seq = ?",
        (seq,),
    ).fetchone()
    if row is None or row[3] != EXAMPLE:
        what = "is not in the journal" if row is None else f"is a {row[3]!r} command"
        raise ConfigError(f"entry {seq} cannot be forgotten: it {what}. Name the seq of an example")
    return row[0], row[1], row[2]
