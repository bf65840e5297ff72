"""The journal (ingest.db): every example and command, in one order, durable before it is acknowledged.

    state after n entries = fold(learn, genesis, entries[1..n])

Invariants: seq runs from 1 without gaps and never changes; an id names one content for ever; how far a
source was read moves in the same transaction as its rows; a body may go (forgotten on purpose, or dropped
by retention), its id stays.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tenuto.errors import CorruptHome, MalformedRow
from tenuto.store import admission, forgetting, idempotency, retention
from tenuto.store.database import Database, set_meta
from tenuto.store.disk import RESTORE, Fuse
from tenuto.store.format import settle
from tenuto.store.records import Entry, Erased, Pruned, Quarantined, Receipt, Refused, Row, Source
from tenuto.store.schema import BETWEEN, ENTRY, EXAMPLE, INGEST, LIVE


class Journal:
    """Appends, reads and forgets entries. One process writes; any may read.

    >>> import tempfile
    >>> journal = Journal(Path(tempfile.mkdtemp()) / "ingest.db")
    >>> receipt = journal.append([Row(id="a", body=b"one"), Row(id="b", body=b"two")], source="demo")
    >>> receipt.accepted, receipt.last_seq
    (2, 2)
    >>> journal.append([Row(id="a", body=b"one"), Row(id="b", body=b"other")]).quarantined
    1
    >>> journal.command("flush", {})
    3
    >>> [(entry.seq, entry.kind) for entry in journal.read(after=1)]
    [(2, 'example'), (3, 'flush')]
    """

    def __init__(
        self, path: Path, *, fuse: Fuse | None = None, vfs: str | None = None, readonly: bool = False
    ) -> None:
        self.database = Database(path, fuse=fuse, vfs=vfs, readonly=readonly)
        try:
            settle(self.database, INGEST)
            if not readonly:
                self.scrub()
        except BaseException:
            self.database.close()
            raise

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self.database.close()

    def append(
        self,
        rows: Sequence[Row],
        *,
        source: str | None = None,
        offset: int | None = None,
        fingerprint: str | None = None,
        refused: Sequence[Refused] = (),
        key: str | None = None,
        payload: bytes = b"",
        at: float | None = None,
    ) -> Receipt:
        """Acknowledge rows: one transaction, durable on return.

        Args:
            rows: examples, in the order they are to be learned.
            source: where all of them came from.
            offset: how far the source is read with them; None leaves it as it is.
            fingerprint: of the source's content so far, for the reader to check when it resumes.
            refused: rows that could not be understood; they go to quarantine.
            key, payload: an idempotency key and the sha256 of its request: the same pair again gets the same
                receipt and changes nothing; the key with another payload is a DuplicateId.
            at: time of receipt, Unix seconds; None: now.
        """
        at = time.time() if at is None else at
        try:
            with self.database.transaction() as connection:
                earlier = None if key is None else idempotency.answered(connection, key, payload)
                if earlier is not None:
                    return earlier
                receipt = admission.admit(connection, rows, refused, source=source, at=at)
                if source is not None and offset is not None:
                    admission.advance(
                        connection, Source(name=source, offset=offset, fingerprint=fingerprint, read_at=at)
                    )
                if key is not None:
                    idempotency.remember(connection, key, payload, receipt, at)
        except UnicodeEncodeError as error:
            raise MalformedRow(
                f"{error.object!r} holds half a surrogate pair and cannot be kept as text. Send valid Unicode"
            ) from error
        return receipt

    def command(
        self, kind: str, body: Mapping[str, Any], *, after: int | None = None, at: float | None = None
    ) -> int:
        """Write a decision into the journal, durable on return; its seq.

        Args:
            kind: its name: flush, take, consolidate, reset, config, ...
            body: plain data.
            after: the seq after which it takes effect; None: where it stands.
        """
        at = time.time() if at is None else at
        with self.database.transaction() as connection:
            return admission.command(connection, kind, body, after, at)

    def read(self, after: int = 0, limit: int = 1024) -> list[Entry]:
        """Entries of every kind and status with seq > after, in order, at most `limit`."""
        return self._entries("seq > ?", (after,), limit)

    def examples(self, after: int = 0, limit: int = 1024) -> list[Entry]:
        """Live examples with seq > after, in order, at most `limit`.

        Raises CorruptHome where what lies between them is no command and was not dropped or forgotten.
        """
        with self.database.reading():
            found = self._entries(f"seq > ? AND kind = '{EXAMPLE}' AND status = {LIVE}", (after,), limit)
            last = found[-1].seq if len(found) == limit else self.last_seq
            between = last - after - len(found)
            if between > 0 and between != self.database.value(BETWEEN, (after, last)):
                raise CorruptHome(
                    f"{self.database.path}: an entry from {after + 1} to {last} was changed. {RESTORE}"
                )
        return found

    def commands(self, after: int = 0, limit: int = 1024) -> list[Entry]:
        """Commands with seq > after, in order, at most `limit`; examples are not touched."""
        return self._entries(f"seq > ? AND kind <> '{EXAMPLE}'", (after,), limit)

    def newest(self, kind: str) -> Entry | None:
        """The newest command of a kind."""
        seq = self.database.value(
            f"SELECT seq FROM entries WHERE kind <> '{EXAMPLE}' AND kind = ? ORDER BY seq DESC LIMIT 1",
            (kind,),
        )
        return None if seq is None else self.fetch([seq])[0]

    def fetch(self, seqs: Iterable[int]) -> list[Entry]:
        """The entries with these seqs, in the order asked for; unknown seqs are left out."""
        return [entry for seq in seqs for entry in self._entries("seq = ?", (seq,), 1)]

    def lookup(self, id: str) -> Entry | None:
        """The entry with this id, whatever its status."""
        return next(iter(self._entries("id = ?", (id,), 1)), None)

    @property
    def last_seq(self) -> int:
        """The newest entry's seq; 0 when empty."""
        seq: int = self.database.value("SELECT coalesce(max(seq), 0) FROM entries")
        return seq

    def counts(self) -> dict[str, int]:
        """Rows that are live, dropped, forgotten, quarantined, duplicates; commands; `bytes` of bodies."""
        totals = self.database.rows("SELECT name, rows, bytes FROM totals")
        return {name: rows for name, rows, _ in totals} | {"bytes": sum(size for _, _, size in totals)}

    def source(self, name: str) -> Source | None:
        """How far a source was read."""
        row = self.database.row("SELECT offset, fingerprint, read_at FROM sources WHERE name = ?", (name,))
        return None if row is None else Source(name=name, offset=row[0], fingerprint=row[1], read_at=row[2])

    def tally(self, seqs: Iterable[int], by: Literal["source", "principal"]) -> dict[str | None, int]:
        """How many of these entries came from each source, or from each principal; the most first."""
        rows = self.database.rows(
            f"SELECT {by}, count(*) FROM entries WHERE seq IN (SELECT value FROM json_each(?))"
            " GROUP BY 1 ORDER BY 2 DESC, 1",
            (json.dumps([*seqs]),),
        )
        return dict(rows)

    def quarantined(self, after: int = 0, limit: int = 1024, *, id: str | None = None) -> list[Quarantined]:
        """Rows set apart with n > after, oldest first; with `id` only those of that id."""
        rows = self.database.rows(
            "SELECT n, id, source, source_offset, body, reason, received_at, principal FROM quarantine"
            f" WHERE n > ?1{'' if id is None else ' AND id = ?3'} ORDER BY n LIMIT ?2",
            (after, limit) if id is None else (after, limit, id),
        )
        return [Quarantined(**dict(zip(Quarantined.__struct_fields__, row, strict=True))) for row in rows]

    def seqs(
        self, *, id: str | None = None, source: str | None = None, principal: str | None = None
    ) -> list[int]:
        """Seqs of the examples that fit every argument given and are not forgotten, ascending."""
        return forgetting.matches(self.database, id=id, source=source, principal=principal)

    def descendants(self, seqs: Iterable[int]) -> list[int]:
        """These seqs and those of every example derived from them, however indirectly, ascending."""
        return forgetting.descendants(self.database, seqs)

    def erase(
        self,
        seqs: Iterable[int],
        *,
        reason: str,
        ids: Iterable[str] = (),
        source: str | None = None,
        principal: str | None = None,
        at: float | None = None,
    ) -> Erased:
        """Forget examples on purpose: no byte of their content stays in the database or its log.

        Writes a `forget` command with the seqs and the reason, in the same transaction. Quarantined rows
        of the same ids, or derived from them, go too.

        Args:
            seqs: entries to forget; usually `descendants(seqs(...))`.
            ids, source, principal: whose quarantined rows go as well.
        """
        at = time.time() if at is None else at
        with self.database.transaction() as connection:
            moved = bool(self.database.meta("moved"))
            blanked, quarantined = forgetting.blank(connection, seqs, ids, source, principal)
            seq = admission.command(connection, "forget", {"seqs": blanked, "reason": reason}, None, at)
            set_meta(connection, "unscrubbed", moved)
        return Erased(seq=seq, entries=len(blanked), quarantined=quarantined, scrubbed=self.scrub())

    def scrub(self) -> bool:
        """Leave no erased byte behind; False while a reader in another process still needs the log.

        Once retention has moved bodies, copies of them may lie in gaps between rows, so the database is
        rewritten: in time and space proportional to the bodies kept.
        """
        if self.database.meta("unscrubbed"):
            self.database.rewrite()
            with self.database.transaction() as connection:
                set_meta(connection, "unscrubbed", False)
                set_meta(connection, "moved", False)
        return self.database.truncate()

    def prune(
        self,
        *,
        through: int,
        max_age_s: float | None = None,
        max_bytes: int | None = None,
        pinned: Callable[[int], bool] = lambda seq: False,
        at: float | None = None,
    ) -> Pruned:
        """Drop the oldest bodies until the journal is within its bounds; ids and hashes stay.

        Args:
            through: the last seq that may be dropped: consumed, and before every kept snapshot.
            max_age_s: oldest age of a body, in seconds; None: any.
            max_bytes: bytes that all bodies may take, quarantine included; None: any.
            pinned: whether a seq's body is still needed, as by memory or by a review.
        """
        now = time.time() if at is None else at
        cutoff = None if max_age_s is None else now - max_age_s
        with self.database.transaction() as connection:
            pruned = retention.drop(connection, through, cutoff, max_bytes, pinned, now)
        if pruned.body_bytes:
            self.database.reclaim()
        return pruned

    def _entries(self, where: str, bindings: tuple[int | str, ...], limit: int) -> list[Entry]:
        rows = self.database.rows(f"{ENTRY} {where} ORDER BY seq LIMIT ?", (*bindings, limit))
        entries = [Entry(*row) for row in rows]
        for entry in entries:
            if not entry.sound:
                raise CorruptHome(f"{self.database.path}: entry {entry.seq} was changed. {RESTORE}")
        return entries
