"""The ledger (state.db): what the learner did, committed in groups, one transaction each.

A group is the rows of its steps, the cursor in the journal, the slots of memory that changed and the digest
of the state after it. All or none of it is durable, so a crash can neither lose nor double an entry; what
is missing is derived again from the journal.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tenuto.errors import CorruptHome
from tenuto.store import audit, commits
from tenuto.store.database import Database, set_meta
from tenuto.store.disk import RESTORE, Fuse
from tenuto.store.format import settle
from tenuto.store.records import CurvePoint, Event, Head, SnapshotRow, Step
from tenuto.store.schema import STATE


class Ledger:
    """Commits groups of steps and answers what happened. One process writes; any may read.

    >>> import tempfile
    >>> ledger = Ledger(Path(tempfile.mkdtemp()) / "state.db")
    >>> step = Step(k=1, first_seq=1, last_seq=10, rows=10, lr=0.1, loss=2.3)
    >>> ledger.commit([step], cursor={"seq": 10}, memory={0: 7}, digest="d1")
    >>> ledger.head.k, ledger.head.cursor, ledger.memory()
    (1, {'seq': 10}, {0: 7})
    """

    def __init__(
        self, path: Path, *, fuse: Fuse | None = None, vfs: str | None = None, readonly: bool = False
    ) -> None:
        self.database = Database(path, fuse=fuse, vfs=vfs, readonly=readonly)
        try:
            settle(self.database, STATE)
            if not readonly:
                self.database.truncate()
        except BaseException:
            self.database.close()
            raise

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self.database.close()

    def commit(
        self,
        steps: Sequence[Step],
        *,
        cursor: Mapping[str, Any],
        memory: Mapping[int, int | None] | None = None,
        digest: str | None = None,
        snapshot: SnapshotRow | None = None,
        events: Iterable[Event] = (),
        at: float | None = None,
    ) -> None:
        """Commit a group: one transaction, durable on return.

        Args:
            steps: in order, following the last committed one.
            cursor: the learner's place in the journal after them, plain data.
            memory: slots that changed and the seq each now holds; None: empty.
            digest: of the state after them; kept on the last of them.
            snapshot: what `Snapshots.take` answered at this very step.
            events: to be told.
            at: time of the commit, Unix seconds; None: now.
        """
        at = time.time() if at is None else at
        with self.database.transaction() as connection:
            k = commits.follow(self.head, steps, snapshot)
            commits.write_steps(connection, steps, digest)
            commits.write_memory(connection, {} if memory is None else memory)
            if snapshot is not None:
                commits.write_snapshot(connection, snapshot)
            commits.write_events(connection, events)
            commits.move(connection, Head(k=k, cursor=cursor, digest=digest, at=at))

    def rewind(
        self,
        k: int,
        *,
        cursor: Mapping[str, Any],
        memory: Mapping[int, int],
        digest: str | None,
        at: float | None = None,
    ) -> None:
        """Go back to step k, whose cursor, memory and digest are given: later steps and snapshots go."""
        at = time.time() if at is None else at
        with self.database.transaction() as connection:
            connection.execute("DELETE FROM steps WHERE k > ?", (k,))
            connection.execute("DELETE FROM snapshots WHERE k > ?", (k,))
            connection.execute("DELETE FROM memory")
            commits.write_memory(connection, memory)
            commits.move(connection, Head(k=k, cursor=cursor, digest=digest, at=at))

    def prune(self, *, steps_before: int = 0, events_before: int = 0) -> int:
        """Drop step rows with k < steps_before and events with n < events_before; how many rows."""
        with self.database.transaction() as connection:
            before = connection.total_changes()
            connection.execute("DELETE FROM steps WHERE k < ?", (steps_before,))
            connection.execute("DELETE FROM events WHERE n < ?", (events_before,))
            dropped = connection.total_changes() - before
        if dropped:
            self.database.reclaim()
        return dropped

    def audit(self, kind: str, body: Mapping[str, Any], *, at: float | None = None) -> int:
        """Chain a row to the audit log, durable on return; its number."""
        with self.database.transaction() as connection:
            return audit.add(connection, kind, body, time.time() if at is None else at)

    def verify_audit(self) -> int:
        """How many audit rows there are, all links sound. Raises CorruptHome."""
        return audit.verify(self.database)

    def audits(self, after: int = 0, limit: int = 1024) -> list[Event]:
        """Audit rows with n > after, oldest first."""
        return self._told("audit", after, limit)

    def events(self, after: int = 0, limit: int = 1024) -> list[Event]:
        """Events with n > after, oldest first."""
        return self._told("events", after, limit)

    @property
    def head(self) -> Head:
        """The last commit; step 0 with an empty cursor before the first."""
        return Head(**(self.database.meta("head") or {"k": 0, "cursor": {}, "digest": None, "at": 0.0}))

    def verify_steps(self) -> None:
        """Return where the kept steps have no gap and end where the head stands; no seal is on their numbers.

        Raises:
            CorruptHome: they do not.
        """
        last, first, count = self.database.rows("SELECT max(k), min(k), count(*) FROM steps")[0]
        k = self.head.k
        if (last or 0, count) != (k, k - (first or 1) + 1):
            raise CorruptHome(
                f"{self.database.path} stands at step {k} and holds {count} steps up to {last}. {RESTORE}"
            )

    def memory(self) -> dict[int, int]:
        """The entry in each slot: slot -> seq."""
        return dict(self.database.rows("SELECT slot, seq FROM memory ORDER BY slot"))

    def steps(self, after: int = 0, limit: int = 1024) -> list[Step]:
        """Steps with k > after, in order."""
        rows = self.database.rows(
            f"SELECT {commits.STEP} FROM steps WHERE k > ? ORDER BY k LIMIT ?", (after, limit)
        )
        return [Step(**dict(zip(Step.__struct_fields__, row, strict=True))) for row in rows]

    def curve(self, points: int = 200, after: int = 0) -> list[CurvePoint]:
        """The loss over the kept steps with k > after, in at most `points` equal stretches, oldest first."""
        rows = self.database.rows(
            "SELECT min(k), max(k), sum(rows), sum(loss * rows) / sum(rows) FILTER (WHERE loss IS NOT NULL),"
            " sum(correct) FROM steps,"
            " (SELECT min(k) AS first, max(k) - min(k) + 1 AS span FROM steps WHERE k > ?1)"
            " WHERE k > ?1 GROUP BY (k - first) * ?2 / span ORDER BY 1",
            (after, points),
        )
        names = CurvePoint.__struct_fields__
        return [CurvePoint(**dict(zip(names, row, strict=True))) for row in rows]

    def verdicts(self) -> dict[str, int]:
        """Kept steps by what the guard said."""
        return dict(self.database.rows("SELECT verdict, count(*) FROM steps GROUP BY verdict ORDER BY 1"))

    def audited(self) -> int:
        """The last kept step that was an audit; 0 where there is none."""
        return self.database.value("SELECT max(k) FROM steps WHERE verdict = 'audit'") or 0

    def snapshots(self) -> list[SnapshotRow]:
        """Every snapshot, newest first."""
        rows = self.database.rows(f"SELECT {commits.SNAPSHOT} FROM snapshots ORDER BY k DESC")
        return [commits.read_snapshot(row) for row in rows]

    def pin(self, k: int, pinned: bool = True) -> None:
        """Keep a snapshot whatever the retention, or no longer."""
        with self.database.transaction() as connection:
            connection.execute("UPDATE snapshots SET pinned = ? WHERE k = ?", (pinned, k))

    def drop_snapshots(self, ks: Iterable[int]) -> None:
        """Delete snapshot rows; their blobs are collected afterwards."""
        with self.database.transaction() as connection:
            connection.executemany("DELETE FROM snapshots WHERE k = ?", [(k,) for k in ks])

    @property
    def config(self) -> dict[str, Any]:
        """The plain data the home was configured with; {} before."""
        return self.database.meta("config") or {}

    def configure(self, config: Mapping[str, Any]) -> None:
        """Keep plain data as the home's configuration."""
        with self.database.transaction() as connection:
            set_meta(connection, "config", dict(config))

    def noted(self, name: str) -> dict[str, Any]:
        """Plain data kept beside the steps under a name; {} where there is none."""
        return self.database.meta(f"note {name}") or {}

    def note(self, name: str, data: Mapping[str, Any]) -> None:
        """Keep plain data that no step depends on, as how often something was asked."""
        with self.database.transaction() as connection:
            set_meta(connection, f"note {name}", dict(data))

    def _told(self, table: str, after: int, limit: int) -> list[Event]:
        rows = self.database.rows(
            f"SELECT n, at, kind, body FROM {table} WHERE n > ? ORDER BY n LIMIT ?", (after, limit)
        )
        return [Event(n=n, at=at, kind=kind, body=json.loads(body)) for n, at, kind, body in rows]
