"""What one commit of the ledger writes, and how its rows are packed; each within the caller's transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apsw
import msgspec

from tenuto.errors import ConfigError, StoreError
from tenuto.store.database import Row, pack, seal, set_meta
from tenuto.store.records import Event, Head, SnapshotRow, Step

STEP = ", ".join(Step.__struct_fields__)
COLUMNS = ("k", "name", "cursor", "manifest", "digest", "environment", "created_at")
SNAPSHOT = ", ".join((*COLUMNS, "pinned", "seal"))
PACKED = ("cursor", "manifest", "environment")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def follow(head: Head, steps: Sequence[Step], snapshot: SnapshotRow | None) -> int:
    """The step a commit ends at. Raises StoreError unless its steps and snapshot follow the last commit."""
    for k, step in enumerate(steps, head.k + 1):
        if step.k != k:
            raise StoreError(
                f"step {step.k} cannot be committed where step {k} is due: the learner and the ledger "
                "disagree. Open the home again: the learner is then caught up from the newest snapshot"
            )
    k = head.k + len(steps)
    if snapshot is not None and snapshot.k != k:
        raise StoreError(f"a snapshot of step {snapshot.k} cannot be committed at step {k}. Take it there")
    return k


def write_steps(connection: apsw.Connection, steps: Sequence[Step], digest: str | None) -> None:
    """Insert step rows, the digest on the last."""
    marks = ", ".join("?" for _ in Step.__struct_fields__)
    connection.executemany(f"INSERT INTO steps({STEP}) VALUES ({marks})", _bound(steps, digest))


def write_memory(connection: apsw.Connection, changes: Mapping[int, int | None]) -> None:
    """Put entries into slots of memory; None empties a slot."""
    kept = [(int(slot), int(seq)) for slot, seq in changes.items() if seq is not None]
    connection.executemany("INSERT OR REPLACE INTO memory(slot, seq) VALUES (?, ?)", kept)
    emptied = [(int(slot),) for slot, seq in changes.items() if seq is None]
    connection.executemany("DELETE FROM memory WHERE slot = ?", emptied)


def write_snapshot(connection: apsw.Connection, row: SnapshotRow) -> None:
    """Insert a snapshot's row, in place of an unnamed one of its step. Raises ConfigError for a name out of
    form or taken."""
    if row.name is not None:
        check_name(row.name)
        if connection.execute("SELECT 1 FROM snapshots WHERE name = ?", (row.name,)).get is not None:
            raise ConfigError(f"a snapshot named {row.name!r} is there already. Choose another name")
    packed = tuple(pack(getattr(row, name)) if name in PACKED else getattr(row, name) for name in COLUMNS)
    marks = ", ".join("?" for _ in COLUMNS)
    connection.execute(
        f"INSERT OR REPLACE INTO snapshots({SNAPSHOT}) VALUES ({marks}, ?, ?)",
        (*packed, row.pinned, seal(*packed)),
    )


def read_snapshot(row: Row) -> SnapshotRow:
    """A snapshot from its row; one that does not match its seal is not `sound`."""
    *packed, pinned, sealed = row
    sound = sealed == seal(*packed)
    fields = dict(zip(COLUMNS, packed, strict=True))
    plain = {name: json.loads(fields[name]) if sound else {} for name in PACKED}
    return SnapshotRow(**(fields | plain), pinned=bool(pinned), sound=sound)


def write_events(connection: apsw.Connection, events: Iterable[Event]) -> None:
    """Append events."""
    connection.executemany(
        "INSERT INTO events(at, kind, body) VALUES (?, ?, ?)",
        [(event.at, event.kind, pack(event.body)) for event in events],
    )


def move(connection: apsw.Connection, head: Head) -> None:
    """Set where the ledger stands."""
    set_meta(connection, "head", msgspec.structs.asdict(head))


def check_name(name: str) -> None:
    """Raise ConfigError unless a snapshot may be called this."""
    if NAME.fullmatch(name) is None:
        raise ConfigError(
            f"snapshot name {name!r} must be 1 to 64 of a-z, 0-9, _ and -, starting with a letter or digit"
        )


def _bound(steps: Sequence[Step], digest: str | None) -> Iterator[tuple[Any, ...]]:
    for step in steps:
        row = msgspec.structs.astuple(step)
        yield (*row[:-1], digest if step is steps[-1] else None)
