"""Bugs put in on purpose, at least one for each rig: a rig that finds nothing in them proves nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import apsw

from tenuto.session import Session
from tenuto.store import commits, database
from tenuto.store.admission import advance
from tenuto.store.blobs import Blobs
from tenuto.store.disk import Fuse
from tenuto.store.journal import Journal
from tenuto.store.ledger import Ledger
from tenuto.store.records import Head, Receipt, Row, SnapshotRow, Source, Step
from tests.crash.acts import Act
from tests.crash.client import Client
from tests.crash.taps import TappedSystem


class Plant(NamedTuple):
    """A bug.

    Args:
        rig: that must find it.
        count: of tries that must be enough.
        target, name, bug: what is put in whose place.
    """

    rig: str
    count: int
    target: Any
    name: str
    bug: Any


@contextmanager
def planted(name: str) -> Iterator[str]:
    """The bug is in for as long as the block lasts; the rig that must find it."""
    plant = PLANTS[name]
    with patch.object(plant.target, plant.name, plant.bug):
        yield plant.rig


def _answers_first(self: Client, act: Act, session: Session, tell: Callable[[], object], again: bool) -> None:
    """Acknowledges an act before it is done."""
    tell()
    (act.again if again else act.do)(session)


def _cursor_first(
    self: Ledger,
    steps: Sequence[Step],
    *,
    cursor: Mapping[str, Any],
    memory: Mapping[int, int | None] | None = None,
    digest: str | None = None,
    snapshot: SnapshotRow | None = None,
) -> None:
    """Commits the cursor in a transaction of its own, before the steps it counts."""
    with self.database.transaction() as connection:
        k = commits.follow(self.head, steps, snapshot)
        commits.move(connection, Head(k=k, cursor=cursor, digest=digest, at=time.time()))
    with self.database.transaction() as connection:
        commits.write_steps(connection, steps, digest)
        commits.write_memory(connection, memory or {})
        if snapshot is not None:
            commits.write_snapshot(connection, snapshot)


def _offset_first(
    self: Journal, rows: Sequence[Row], *, source: str, offset: int, fingerprint: str | None, refused: Any
) -> Receipt:
    """Commits how far a source was read in a transaction of its own, before the rows."""
    with self.database.transaction() as connection:
        advance(connection, Source(name=source, offset=offset, fingerprint=fingerprint, read_at=time.time()))
    time.sleep(SLOW)
    return APPEND(self, rows, source=source, offset=offset, fingerprint=fingerprint, refused=refused)


def _normal(path: Path, vfs: str | None) -> apsw.Connection:
    """Connects with synchronous=NORMAL: a commit does not wait for the disk."""
    connection = CONNECT(path, vfs)
    connection.pragma("synchronous", 1)
    return connection


def _nothing(*_: object, **__: object) -> int:
    """Does nothing."""
    return 0


SLOW = 0.004
"""Seconds that a commit takes on a real disk."""
APPEND, CONNECT = Journal.append, database._connect
PLANTS: Mapping[str, Plant] = {
    "answer-before-commit": Plant("kills", 30, Client, "perform", _answers_first),
    "cursor-apart-from-steps": Plant("kills", 60, Ledger, "commit", _cursor_first),
    "synchronous-normal": Plant("cuts", 300, database, "_connect", _normal),
    "no-sync-of-folders": Plant("cuts", 300, TappedSystem, "fsync_dir", _nothing),
    "rename-before-sync": Plant("cuts", 600, TappedSystem, "fsync", _nothing),
    "forgotten-blob-kept": Plant("forgets", 10, Blobs, "collect", _nothing),
    "refused-and-on": Plant("refusals", 40, Fuse, "check", _nothing),
    "seal-not-checked": Plant("flips", 300, database, "seal", lambda *_: ""),
    "offset-apart-from-rows": Plant("lives", 50, Journal, "append", _offset_first),
}
