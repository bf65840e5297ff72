"""The audit log: who decided what, each row chained to the one before it.

    hash(n) = sha256(hash(n - 1) | n | at | kind | body)

Changing, removing or reordering a row breaks the chain; removing the last ones breaks it at the head,
which is kept apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import apsw

from tenuto.errors import CorruptHome
from tenuto.store.database import Database, set_meta

GENESIS = "0" * 64
HEAD = "audit_head"


def add(connection: apsw.Connection, kind: str, body: Mapping[str, Any], at: float) -> int:
    """Chain a row to the log; its number. Within the caller's transaction."""
    last = connection.execute("SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1").fetchone()
    n, prev = (1, GENESIS) if last is None else (int(last[0]) + 1, str(last[1]))
    text = json.dumps(body, sort_keys=True, allow_nan=False)
    link = _hash(prev, n, at, kind, text)
    connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)", (n, at, kind, text, prev, link))
    set_meta(connection, HEAD, [n, link])
    return n


def verify(database: Database) -> int:
    """The number of rows, when every link holds. Raises CorruptHome naming the first row that does not."""
    n, last = 0, GENESIS
    for number, at, kind, body, prev, link in database.rows(
        "SELECT n, at, kind, body, prev, hash FROM audit ORDER BY n"
    ):
        n += 1
        if number != n or prev != last or link != _hash(prev, n, at, kind, body):
            raise CorruptHome(
                f"{database.path}: row {n} of the audit log was changed, removed or added later. "
                "Compare it with a copy of the home"
            )
        last = link
    head = database.meta(HEAD)
    if (n, last) != ((0, GENESIS) if head is None else tuple(head)):
        raise CorruptHome(
            f"{database.path}: the audit log ends at row {n}, its head says otherwise: rows were removed. "
            "Compare it with a copy of the home"
        )
    return n


def _hash(prev: str, n: int, at: float, kind: str, body: str) -> str:
    return sha256(json.dumps([prev, n, at, kind, body]).encode()).hexdigest()
