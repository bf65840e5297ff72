"""Which rows of an append become entries: each id is accepted once, with one content, and never again
after it was forgotten.

Where no id clashes, as nearly always, one prepared INSERT OR IGNORE runs over all rows and the number of
changes proves that none was there. Otherwise that attempt is undone and the rows are sorted out one by one
against the ids that exist.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import apsw
import msgspec

from tenuto.errors import ConfigError, ExampleError
from tenuto.store.database import set_meta
from tenuto.store.records import Receipt, Refused, Row, Source, digest
from tenuto.store.schema import EXAMPLE, FORGOTTEN, LIVE

INSERT = (
    "INSERT OR IGNORE INTO entries"
    "(seq, id, sha256, source, source_offset, principal, received_at, kind, status)"
    f" VALUES (?, ?, ?, ?, ?, ?, ?, '{EXAMPLE}', {LIVE})"
)
COMMAND = re.compile(r"[a-z][a-z_]{0,31}")
Candidate = tuple[int, str, bytes, str | None, int | None, str | None, float]


def admit(
    connection: apsw.Connection,
    rows: Sequence[Row],
    refused: Sequence[Refused],
    *,
    source: str | None,
    at: float,
) -> Receipt:
    """Insert what may enter, set apart what clashes; within the caller's transaction."""
    offered = len(rows) + len(refused)
    rows, refused, heirs = _never_again(connection, rows, refused, source)
    barred = offered - len(rows) - len(refused)
    last: int = connection.execute("SELECT coalesce(max(seq), 0) FROM entries").get
    candidates = _candidates(rows, last, source, at)
    duplicates = 0
    if not _inserted(connection, candidates):
        rows, clashing, duplicates, gone = _sorted_out(connection, rows, candidates)
        candidates = _candidates(rows, last, source, at)
        connection.executemany(INSERT, candidates)
        barred += gone
        refused = (*refused, *clashing)
    connection.executemany(
        "INSERT INTO bodies(seq, body) VALUES (?, ?)",
        [(seq, row.body) for seq, row in enumerate(rows, last + 1)],
    )
    _link(connection, rows, last)
    _bury(connection, heirs, at)
    apart: int = connection.execute("SELECT coalesce(max(n), 0) FROM quarantine").get
    set_apart(connection, refused, source=source, at=at)
    if apart or refused:
        _settle(connection, last, apart)
    count(connection, "live", len(rows), sum(len(row.body) for row in rows))
    if duplicates:
        count(connection, "duplicates", duplicates, 0)
    return Receipt(
        accepted=len(rows),
        duplicates=duplicates,
        forgotten=barred,
        quarantined=len(refused),
        first_seq=last + 1 if rows else None,
        last_seq=last + len(rows) if rows else None,
    )


def name(row: Row, source: str | None) -> str:
    """A row's id, or the place it came from."""
    if row.id is not None:
        return row.id
    if source is None or row.source_offset is None:
        raise ExampleError("a row has no id and no place in a source to be named after. Give it an id")
    return f"{source}:{row.source_offset}"


def set_apart(
    connection: apsw.Connection, refused: Iterable[Refused], *, source: str | None, at: float
) -> None:
    """Put rows in quarantine, each content of an id once."""
    for row in refused:
        connection.execute(
            "INSERT OR IGNORE INTO quarantine"
            "(id, source, source_offset, body, sha256, reason, received_at, principal, parents)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                name(row, source),
                source,
                row.source_offset,
                row.body,
                sha256(row.body).digest(),
                row.reason,
                at,
                row.principal,
                json.dumps(row.derived_from),
            ),
        )
        if connection.changes():
            count(connection, "quarantined", 1, len(row.body))


def _settle(connection: apsw.Connection, last: int, apart: int) -> None:
    """Let go of what was set apart under the ids of the new entries, before them: they came right now."""
    sizes: list[int] = [
        size
        for (size,) in connection.execute(
            "DELETE FROM quarantine WHERE n IN (SELECT n FROM entries JOIN quarantine AS apart USING (id)"
            " WHERE seq > ? AND (n <= ? OR apart.source_offset < entries.source_offset))"
            " RETURNING length(body)",
            (last, apart),
        )
    ]
    if sizes:
        count(connection, "quarantined", -len(sizes), -sum(sizes))
        set_meta(connection, "moved", True)


def count(connection: apsw.Connection, name: str, rows: int, body_bytes: int) -> None:
    """Move a total, so that no answer about the whole journal has to read it."""
    connection.execute(
        "UPDATE totals SET rows = rows + ?, bytes = bytes + ? WHERE name = ?", (rows, body_bytes, name)
    )


def _candidates(rows: Iterable[Row], last: int, source: str | None, at: float) -> list[Candidate]:
    return [
        (
            seq,
            id := name(row, source) if row.id is None else row.id,
            digest(id, row.body),
            source,
            row.source_offset,
            row.principal,
            at,
        )
        for seq, row in enumerate(rows, last + 1)
    ]


def _inserted(connection: apsw.Connection, candidates: list[Candidate]) -> bool:
    before = connection.total_changes()
    connection.execute("SAVEPOINT attempt")
    connection.executemany(INSERT, candidates)
    whole = connection.total_changes() - before == len(candidates)
    connection.execute("RELEASE attempt" if whole else "ROLLBACK TO attempt; RELEASE attempt")
    return whole


def _sorted_out(
    connection: apsw.Connection, rows: Sequence[Row], candidates: list[Candidate]
) -> tuple[list[Row], list[Refused], int, int]:
    taken: dict[str, tuple[bytes | None, int]] = {
        id: (content, status)
        for id, content, status in connection.executemany(
            "SELECT id, sha256, status FROM entries WHERE id = ?", [(c[1],) for c in candidates]
        )
    }
    fresh: list[Row] = []
    clashing: list[Refused] = []
    duplicates = gone = 0
    for row, (_, id, content, *_) in zip(rows, candidates, strict=True):
        earlier = taken.get(id)
        if earlier is None:
            taken[id] = (content, LIVE)
            fresh.append(row)
        elif earlier[1] == FORGOTTEN:
            gone += 1
        elif earlier[0] == content:
            duplicates += 1
        else:
            clashing.append(_clash(row, id))
    return fresh, clashing, duplicates, gone


def _clash(row: Row, id: str) -> Refused:
    return Refused(
        body=row.body,
        id=id,
        source_offset=row.source_offset,
        principal=row.principal,
        derived_from=row.derived_from,
        reason=f"id {id!r} was already taken by other content. Send it under a new id, or forget the old one",
    )


def _never_again(
    connection: apsw.Connection, rows: Sequence[Row], refused: Sequence[Refused], source: str | None
) -> tuple[Sequence[Row], Sequence[Refused], set[str]]:
    """Without what was forgotten: rows derived from it (their ids come last), refused rows under its id."""
    parents = {parent for row in (*rows, *refused) for parent in row.derived_from}
    names = parents | {name(row, source) for row in refused}
    forgotten = {
        id
        for (id,) in connection.executemany(
            f"SELECT id FROM entries WHERE id = ? AND status = {FORGOTTEN}", [(id,) for id in names]
        )
    }
    if not forgotten:
        return rows, refused, set()
    heirs: set[str] = set()
    while (
        more := {name(row, source) for row in (*rows, *refused) if not forgotten.isdisjoint(row.derived_from)}
        - heirs
    ):
        heirs |= more
        forgotten |= more
    return (
        [row for row in rows if forgotten.isdisjoint(row.derived_from)],
        [row for row in refused if forgotten.isdisjoint((name(row, source), *row.derived_from))],
        heirs,
    )


def _bury(connection: apsw.Connection, heirs: Iterable[str], at: float) -> None:
    """Leave a tombstone for each row that was not let in, so that none of its descendants is either."""
    for id in sorted(heirs):
        connection.execute(
            "INSERT OR IGNORE INTO entries(id, kind, received_at, status)"
            f" VALUES (?, '{EXAMPLE}', ?, {FORGOTTEN})",
            (id, at),
        )
        count(connection, "forgotten", connection.changes(), 0)


def _link(connection: apsw.Connection, rows: Sequence[Row], last: int) -> None:
    links = [(seq, parent) for seq, row in enumerate(rows, last + 1) for parent in row.derived_from]
    if links:
        connection.executemany("INSERT OR IGNORE INTO derived(seq, parent) VALUES (?, ?)", links)


def advance(connection: apsw.Connection, source: Source) -> None:
    """Keep how far a source was read."""
    connection.execute(
        "INSERT OR REPLACE INTO sources(name, offset, fingerprint, read_at) VALUES (?, ?, ?, ?)",
        (source.name, source.offset, source.fingerprint, source.read_at),
    )


def command(
    connection: apsw.Connection, kind: str, body: Mapping[str, Any], after: int | None, at: float
) -> int:
    """Insert a command; its seq. Within the caller's transaction."""
    if kind == EXAMPLE or COMMAND.fullmatch(kind) is None:
        raise ConfigError(f"command kind {kind!r} must be a word of a-z and _, other than {EXAMPLE!r}")
    try:
        encoded = msgspec.msgpack.encode(dict(body))
    except (TypeError, OverflowError) as error:
        raise ConfigError(f"command {kind!r}: its body must be plain data: {error}") from error
    connection.execute(
        "INSERT INTO entries(kind, command, sha256, received_at, after, status) VALUES (?, ?, ?, ?, ?, ?)",
        (kind, encoded, digest(f"{kind} {after}", encoded), at, after, LIVE),
    )
    count(connection, "commands", 1, 0)
    return connection.last_insert_rowid()
