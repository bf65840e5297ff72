"""What was promised to a client up to its last acknowledgement, and whether a home keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tenuto.session import Session
from tenuto.store.home import Home
from tenuto.store.integrity import check
from tenuto.streams.encoding import encode
from tenuto.types import OnlineExample
from tests.crash.acts import Act, Forget, Ingest, marks


class Fault(NamedTuple):
    """A promise broken: lost, doubled, corrupt, half, leaked, differs; damaged: by the store's own check."""

    kind: str
    text: str


@dataclass(frozen=True)
class Promise:
    """What holds after some acts were acknowledged and one more may have been under way.

    Args:
        rows: every acknowledged row that was not forgotten since, by id.
        sent: rows of the act under way: all of them are there, or none.
        gone: rows acknowledged as forgotten.
        going: rows the act under way forgets: all of them are gone, or none.
    """

    rows: dict[str, OnlineExample]
    sent: dict[str, OnlineExample]
    gone: dict[str, OnlineExample]
    going: dict[str, OnlineExample]


def promised(acts: Iterable[Act], acknowledged: int) -> Promise:
    """The promise after the first `acknowledged` acts."""
    held: dict[str, tuple[OnlineExample, str]] = {}
    gone: dict[str, OnlineExample] = {}
    sent: dict[str, OnlineExample] = {}
    going: dict[str, OnlineExample] = {}
    for number, act in enumerate(acts):
        done = number < acknowledged
        if isinstance(act, Ingest):
            rows = {str(row.id): row for row in act.rows}
            if done:
                held |= {id: (row, act.source) for id, row in rows.items()}
            else:
                sent = rows
        elif isinstance(act, Forget):
            closed = _closed(act, held)
            (gone if done else going).update(closed)
            if done:
                held = {id: pair for id, pair in held.items() if id not in closed}
        if not done:
            break
    return Promise({id: row for id, (row, _) in held.items() if id not in going}, sent, gone, going)


def kept(home: Home, promise: Promise, *, pruned: bool = False) -> list[Fault]:
    """Every promise this open home breaks in its databases."""
    return [*_journal(home, promise, pruned), *_ledger(home)]


def traces(
    root: Path, rows: Iterable[OnlineExample], *, labels: bool = True, index: bool = True
) -> list[Fault]:
    """Where the content of forgotten rows still lies.

    Args:
        labels: are labels content, or does the configuration list them?
        index: look into the logs' indexes too. Recovering a torn log, SQLite copies memory it has not
            set into them, and a worker's memory has held every home it tried.
    """
    wanted = [(str(row.id), mark) for row in rows for mark in marks(row, labels=labels)]
    if not wanted:
        return []
    return [
        Fault("leaked", f"{mark[:40]!r} of {id} is still in {path.relative_to(root)}")
        for path in sorted(root.rglob("*"))
        if path.is_file() and (index or not path.name.endswith("-shm"))
        for data in [path.read_bytes()]
        for id, mark in wanted
        if mark in data
    ]


def sound(path: Path) -> list[Fault]:
    """What the store's own check finds in a closed home."""
    with Home.view(path) as home:
        return [Fault("damaged", f"{finding.file}: {finding.problem}") for finding in check(home)]


def _closed(act: Forget, held: dict[str, tuple[OnlineExample, str]]) -> dict[str, OnlineExample]:
    closed = {id: row for id, (row, source) in held.items() if act.names(row, source)}
    size = -1
    while size != len(closed):
        size = len(closed)
        closed |= {id: row for id, (row, _) in held.items() if not closed.keys().isdisjoint(row.derived_from)}
    return closed


def _journal(home: Home, promise: Promise, pruned: bool) -> list[Fault]:
    entries = home.journal.database.rows(
        "SELECT id, status, body, sha256 FROM entries LEFT JOIN bodies USING (seq) WHERE kind = 'example'"
    )
    faults = []
    everything = home.journal.database.rows("SELECT count(*), coalesce(max(seq), 0) FROM entries")[0]
    if everything[0] != everything[1]:
        faults.append(Fault("lost", f"{everything[0]} entries up to seq {everything[1]}"))
    found = {id: (status, body) for id, status, body, _ in entries}
    bodies = [body for _, _, body, _ in entries if body]
    damaged = {id for id, _, body, digest in entries if body and sha256(body).digest() != digest}
    if len(found) != len(entries) or len({*bodies}) != len(bodies):
        faults.append(Fault("doubled", f"{len(entries)} entries of {len(found)} ids"))
    for id, row in promise.rows.items():
        status, body = found.get(id, (None, None))
        if status is None:
            faults.append(Fault("lost", f"acknowledged row {id} is not in the journal"))
        elif status != 0 and not (pruned and status == 1):
            faults.append(Fault("lost", f"row {id} has status {status}"))
        elif body != encode(row) and not (pruned and body is None):
            kind = "damaged" if id in damaged else "corrupt"
            faults.append(Fault(kind, f"row {id} is not what was sent"))
    faults += _whole("sent", {id: id in found for id in promise.sent})
    faults += _whole("forgotten", {id: found.get(id, (0, b""))[0] == 2 for id in promise.going})
    faults += [Fault("half", f"{id} came back") for id in promise.gone if found.get(id, (2, b""))[0] != 2]
    known = promise.rows.keys() | promise.sent.keys() | promise.gone.keys() | promise.going.keys()
    return faults + [Fault("corrupt", f"{id} was never sent") for id in found.keys() - known]


def _whole(what: str, done: dict[str, bool]) -> list[Fault]:
    if len(set(done.values())) > 1:
        return [Fault("half", f"{sum(done.values())} of {len(done)} rows were {what}")]
    return []


def _ledger(home: Home) -> list[Fault]:
    faults = []
    head, last = home.ledger.head, home.journal.last_seq
    steps = [k for (k,) in home.ledger.database.rows("SELECT k FROM steps ORDER BY k")]
    if (steps and steps != list(range(steps[0], head.k + 1))) or (not steps and head.k):
        faults.append(Fault("corrupt", f"the ledger stands at step {head.k} and holds steps {steps}"))
    cursor = head.cursor
    reached = [
        cursor.get("seq", 0),
        cursor.get("obeyed", 0),
        *cursor.get("pending", ()),
        *home.ledger.memory().values(),
    ]
    if max(reached) > last:
        faults.append(Fault("lost", f"the ledger knows entry {max(reached)}, the journal ends at {last}"))
    return faults


def same_memory(session: Session) -> list[Fault]:
    """Does the ledger's table of memory agree with the learner that was recovered?"""
    held, kept_rows = session.fold.memory, session.home.ledger.memory()
    return (
        [] if held == kept_rows else [Fault("differs", f"memory holds {held}, the ledger says {kept_rows}")]
    )
