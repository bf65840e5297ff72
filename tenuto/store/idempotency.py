"""Idempotency keys: the same request sent twice is answered twice and carried out once."""

from __future__ import annotations

import json

import apsw
import msgspec

from tenuto.errors import DuplicateId
from tenuto.store.records import Receipt


def answered(connection: apsw.Connection, key: str, payload: bytes) -> Receipt | None:
    """The receipt given to this key before; None for a new key. Raises DuplicateId for another payload."""
    row = connection.execute("SELECT sha256, response FROM idempotency WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    if row[0] != payload:
        raise DuplicateId(f"idempotency key {key!r} was used for another request. Use a new key")
    return Receipt(**json.loads(row[1]))


def remember(connection: apsw.Connection, key: str, payload: bytes, receipt: Receipt, at: float) -> None:
    """Keep the receipt of an idempotency key."""
    connection.execute(
        "INSERT INTO idempotency(key, sha256, response, received_at) VALUES (?, ?, ?, ?)",
        (key, payload, json.dumps(msgspec.structs.asdict(receipt)), at),
    )
