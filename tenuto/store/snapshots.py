"""Snapshots: the whole state at a step, so that recovery redoes only the steps after it.

The order makes them safe: blobs are durable before the row that names them is committed with the cursor,
and rows are gone before the blobs that only they named are collected. A snapshot whose blobs do not match
their names is passed over for an older one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenuto.errors import ConfigError, CorruptHome
from tenuto.store.blobs import Blobs
from tenuto.store.disk import RESTORE
from tenuto.store.ledger import Ledger
from tenuto.store.manifest import freeze, reachable, thaw
from tenuto.store.records import SnapshotRow

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """A snapshot read back: the state, and which entry lay in each slot of memory."""

    state: dict[str, Any]
    memory: dict[int, int]


class Snapshots:
    """Takes, reads and collects the snapshots of one home."""

    def __init__(self, ledger: Ledger, blobs: Blobs) -> None:
        self._ledger = ledger
        self._blobs = blobs

    def take(
        self,
        state: Mapping[str, Any],
        *,
        memory: Mapping[int, int],
        k: int,
        cursor: Mapping[str, Any],
        digest: str,
        environment: Mapping[str, Any],
        name: str | None = None,
        pinned: bool = False,
        at: float | None = None,
    ) -> SnapshotRow:
        """Make the state's blobs durable; the row for `Ledger.commit` at this very step.

        Args:
            state: what `OnlineLearner.save_state` answers.
            memory: the entry in each slot: slot -> seq.
            k, cursor, digest: the step, the learner's place in the journal, the state's digest.
            environment: versions and threads it was computed with.
        """
        manifest = freeze({"state": dict(state), "memory": _pairs(memory)}, self._blobs)
        return SnapshotRow(
            k=k,
            name=name,
            cursor=cursor,
            manifest=manifest,
            digest=digest,
            environment=environment,
            created_at=time.time() if at is None else at,
            pinned=pinned,
        )

    def read(self, row: SnapshotRow) -> Restored:
        """The state and the memory's provenance of a snapshot. Raises CorruptHome."""
        match thaw(row.manifest, self._blobs):
            case {"state": dict(state), "memory": pairs} if tuple(getattr(pairs, "shape", ()))[1:] == (2,):
                return Restored(state=state, memory=dict(pairs.tolist()))
        raise CorruptHome(f"the snapshot of step {row.k} holds no state and memory. {RESTORE}")

    def list(self) -> list[SnapshotRow]:
        """Every snapshot, newest first."""
        return self._ledger.snapshots()

    def find(self, snapshot: str | int) -> SnapshotRow:
        """A snapshot by its name or its step. Raises ConfigError naming those there are."""
        rows = self._ledger.snapshots()
        for row in rows:
            if snapshot in (row.name, row.k, str(row.k)):
                return row
        known = ", ".join(row.name or str(row.k) for row in rows)
        raise ConfigError(f"there is no snapshot {snapshot!r}; kept are {known}")

    def newest_valid(self, at_most: int | None = None) -> SnapshotRow | None:
        """The newest snapshot, of step `at_most` or before, whose blobs are what their names say."""
        for row in self._ledger.snapshots():
            if at_most is None or row.k <= at_most:
                with suppress(CorruptHome):
                    self.verify(row)
                    return row
        return None

    def verify(self, row: SnapshotRow) -> None:
        """Read a snapshot's row and blobs against their hashes. Raises CorruptHome."""
        if not row.sound:
            raise CorruptHome(f"the row of the snapshot of step {row.k} does not match its seal. {RESTORE}")
        self._blobs.verify(reachable(row.manifest))

    def collect(self, keep: int, *, genesis: bool = True, durable: bool = False) -> int:
        """Drop all snapshots but the `keep` newest and the pinned; blobs that only they named go too.

        Not between `take` and the commit of its row: its blobs would have no name yet.

        Args:
            keep: how many of the newest stay.
            genesis: whether it stays: with it anything can be forgotten, but no body can be dropped.
            durable: no power cut may bring a deleted blob back; as forgetting asks for.

        Returns:
            How many blobs were deleted.
        """
        rows = self._ledger.snapshots()
        dropped = [row for row in rows[keep:] if not (row.pinned or (genesis and row.k == 0))]
        if dropped:
            self._ledger.drop_snapshots(row.k for row in dropped)
        kept = self._ledger.snapshots()
        named = (name for row in kept for name in reachable(row.manifest))
        return self._blobs.collect(named, durable=durable)


def _pairs(memory: Mapping[int, int]) -> Tensor:
    import torch

    return torch.tensor(sorted(memory.items()), dtype=torch.int64).reshape(-1, 2)
