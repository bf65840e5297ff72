"""The whole home read and checked: databases, bodies, blobs, audit log, totals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenuto.errors import CorruptHome
from tenuto.store.disk import RESTORE
from tenuto.store.home import Home
from tenuto.store.records import Entry
from tenuto.store.schema import ENTRY

EVERY = f"{ENTRY} TRUE ORDER BY seq"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong with a home.

    Args:
        file: where.
        problem: what.
        remedy: what to do about it.
    """

    file: str
    problem: str
    remedy: str


def check(home: Home) -> list[Finding]:
    """Everything wrong with a home; [] when it is sound. Reads it all, changes nothing.

    >>> import tempfile
    >>> with Home.create(tempfile.mkdtemp(), config={}) as home:
    ...     check(home)
    []
    """
    findings = [*_databases(home)]
    return findings or [*_bodies(home), *_snapshots(home), *_ledger(home)]


def _databases(home: Home) -> Iterator[Finding]:
    for database in (home.journal.database, home.ledger.database):
        for problem in database.problems():
            yield Finding(file=str(database.path), problem=problem, remedy=RESTORE)


def _bodies(home: Home) -> Iterator[Finding]:
    for row in home.journal.database.walk(EVERY):
        entry = Entry(*row)
        if not entry.sound:
            yield Finding(
                file=str(home.journal.database.path),
                problem=f"entry {entry.seq} (id {entry.id!r}) is not what was sent",
                remedy=f"Forget {entry.id!r} and send it again, or restore the file from a copy of the home",
            )


def _snapshots(home: Home) -> Iterator[Finding]:
    for row in home.snapshots.list():
        try:
            home.snapshots.verify(row)
        except CorruptHome as error:
            yield Finding(
                file=str(home.ledger.database.path),
                problem=f"the snapshot of step {row.k} cannot be read: {error}",
                remedy="An older snapshot is used instead; the steps after it are computed again",
            )


def _ledger(home: Home) -> Iterator[Finding]:
    ledger = home.ledger
    for read in (lambda: ledger.head, lambda: home.config, ledger.verify_steps, ledger.verify_audit):
        try:
            read()
        except CorruptHome as error:
            yield Finding(file=str(home.ledger.database.path), problem=str(error), remedy=RESTORE)
