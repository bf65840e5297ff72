"""Coming back: from the newest snapshot that verifies, through the journal, to where the ledger stands.

The same walk serves three ends. After a crash it redoes the steps that no snapshot holds and asserts
the digest. After a reset or a forgetting it starts from a snapshot that never saw what must go. And
`verify` walks the whole kept log on the side and compares every recorded digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tenuto.errors import ConfigError, CorruptHome, OutOfReach
from tenuto.learner import Learner
from tenuto.session.fold import Fold, environment
from tenuto.store.cursor import Cursor
from tenuto.store.disk import RESTORE
from tenuto.store.home import Home
from tenuto.store.records import Erased, SnapshotRow, Step

Make = Callable[[], Learner]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What re-running the log found.

    Args:
        first, last: the steps walked.
        compared: digests compared.
        differs: the first step whose digest differs, or None.
        exact: False where this machine or code differs from the one that learned, so bits may differ.
    """

    first: int
    last: int
    compared: int
    differs: int | None
    exact: bool

    @property
    def holds(self) -> bool:
        """Was every digest met?"""
        return self.differs is None


def load(home: Home, make: Make, row: SnapshotRow, until: Cursor | None = None) -> Fold:
    """The fold as it stood at a snapshot; it heeds the commands of a cursor, where one is given."""
    restored = home.snapshots.read(row)
    learner = make()
    learner.load_state(restored.state)
    obeyed = home.ledger.head.cursor.get("obeyed", 0)
    cursor = Cursor.of({**row.cursor, "obeyed": obeyed})
    return Fold(learner, home.journal, k=row.k, cursor=cursor, memory=restored.memory, until=until)


def recover(home: Home, make: Make) -> tuple[Fold, bool]:
    """The fold where the ledger stands, and whether it is bit-exact there.

    Raises:
        CorruptHome: no snapshot verifies, or the digest does not match on the machine that made it.
    """
    home.ledger.verify_steps()
    head = home.ledger.head
    stood = Cursor.of(head.cursor)
    row = sound(home, (row for row in home.snapshots.list() if row.k <= head.k))
    fold = load(home, make, row, stood)
    exact = same_machine(row)
    for step in _walk(fold, head.k):
        del step
    if exact and head.digest is not None and fold.learner.digest() != head.digest:
        raise CorruptHome(
            f"step {head.k} of {home.path} comes back with another digest than it was committed with; "
            f"run `tenuto verify` to find where they part"
        )
    if exact:
        _same_memory(home, fold.memory)
    fold.stand(stood)
    return fold, exact


def verify(home: Home, make: Make, on_step: Callable[[Step], None] | None = None) -> Verified:
    """Re-run the log from the oldest kept snapshot and compare every digest; the home is not changed.

    Args:
        on_step: called after each step.
    """
    rows = home.snapshots.list()
    if not rows:
        raise CorruptHome(f"{home.path} holds no snapshot to verify from")
    head = home.ledger.head
    fold = load(home, make, rows[-1], Cursor.of(head.cursor))
    exact = all(same_machine(row) for row in rows)
    compared, first = 0, fold.k
    for step, recorded in zip(_walk(fold, head.k), _recorded(home, first), strict=True):
        digest = recorded.digest
        compared += digest is not None
        if (digest is not None and fold.learner.digest() != digest) or _place(step) != _place(recorded):
            return Verified(first=first, last=step.k, compared=compared, differs=step.k, exact=exact)
        if on_step is not None:
            on_step(step)
    return Verified(first=first, last=head.k, compared=compared, differs=None, exact=exact)


def unseen(home: Home, seqs: Iterable[int]) -> SnapshotRow:
    """The newest sound snapshot that never saw any of these entries.

    Raises:
        OutOfReach: none is kept, or the journal no longer holds what came after it.
    """
    wanted = set(seqs)
    rows = [row for row in home.snapshots.list() if not saw(Cursor.of(row.cursor), wanted)]
    if rows:
        return sound(home, rows)
    raise OutOfReach(
        f"entry {min(wanted)} was learned before the oldest kept snapshot, so the model cannot be rebuilt "
        "without it; keep more snapshots or the whole journal (journal_max_age, journal_max_bytes) "
        "to be able to forget further back"
    )


def erase(
    home: Home, cursor: Cursor, *, id: str | Sequence[str] | None, source: str | None, principal: str | None
) -> Erased:
    """Wipe all that fits, and what derives from it, where a state that never saw it is within reach.

    Raises:
        ConfigError: nothing fits.
        OutOfReach: it was learned before the oldest kept snapshot; nothing was changed.
    """
    journal, ids = home.journal, () if id is None else (id,) if isinstance(id, str) else tuple(id)
    found = [journal.seqs(id=one, source=source, principal=principal) for one in ids or (None,)]
    seqs = journal.descendants(seq for some in found for seq in some)
    if seqs and saw(cursor, seqs):
        unseen(home, seqs)
    erased = journal.erase(seqs, reason="asked", ids=ids, source=source, principal=principal)
    if not erased.entries and not erased.quarantined:
        journal.database.trust()
        wanted = id or source or principal
        raise ConfigError(f"there is nothing of {wanted!r} to forget; it was never taken, or is forgotten")
    return erased


def sound(home: Home, rows: Iterable[SnapshotRow]) -> SnapshotRow:
    """The first of some snapshots that verifies. Raises CorruptHome."""
    for row in rows:
        with suppress(CorruptHome):
            home.snapshots.verify(row)
            return row
    raise CorruptHome(f"no snapshot of {home.path} can be read; restore the directory from a copy")


def saw(cursor: Cursor, seqs: Iterable[int]) -> bool:
    """Has a learner at this place read any of these entries?"""
    return any(seq <= cursor.seq or seq in cursor.taken for seq in seqs)


def same_machine(row: SnapshotRow) -> bool:
    """Was the snapshot made where its bits come back the same?"""
    return dict(row.environment) == environment()


def _walk(fold: Fold, k: int) -> Iterable[Step]:
    while fold.k < k:
        step = fold.advance()
        if not isinstance(step, Step):
            raise CorruptHome(
                f"the journal ends at step {fold.k}, but step {k} was committed from it; "
                "ingest.db is older than state.db: restore both from the same copy"
            )
        yield step


def _same_memory(home: Home, memory: dict[int, int]) -> None:
    recorded = home.ledger.memory()
    for slot in memory.keys() | recorded.keys():
        if memory.get(slot) != recorded.get(slot):
            raise CorruptHome(
                f"{home.ledger.database.path} says that slot {slot} of memory holds entry "
                f"{recorded.get(slot)}, but it holds {memory.get(slot)}. {RESTORE}"
            )


def _recorded(home: Home, after: int) -> Iterable[Step]:
    while steps := home.ledger.steps(after=after):
        yield from steps
        after = steps[-1].k


def _place(step: Step) -> tuple[int, int, bytes]:
    return (step.first_seq, step.last_seq, step.replayed)
