"""The rows of the store as plain records.

They are msgspec structs, not dataclasses: `Row`, `Entry` and `Step` are made once per example or step, at
a fifth of the cost, and a verb that only looks at a home spends a tenth of the time on their classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from tenuto.store.schema import EXAMPLE


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An example on its way into the journal.

    Args:
        body: its content, encoded; equal bytes are equal content.
        id: its name; None: `<source>:<source_offset>`.
        source_offset: where it stood in its source.
        principal: who sent it.
        derived_from: ids it was made from.
    """

    body: bytes
    id: str | None = None
    source_offset: int | None = None
    principal: str | None = None
    derived_from: tuple[str, ...] = ()


class Refused(Row, frozen=True, kw_only=True, gc=False):
    """A row that goes to quarantine, and why."""

    reason: str


def digest(name: str, body: bytes) -> bytes:
    """What an entry's hash covers: its body, and an example's id or a command's kind and place."""
    return sha256(name.encode() + b"\0" + body).digest()


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry of the journal: an example, or a command.

    Args:
        seq: its place, from 1, without gaps.
        kind: "example", or the command's name.
        body: None once forgotten or dropped.
        after: of a command, the seq it takes effect after; None: where it stands.
        status: "live", "dropped" (by retention) or "forgotten" (on purpose); None where the row was changed.
        sha256: its `digest`, while its body is kept.
    """

    seq: int
    id: str | None
    kind: str
    body: bytes | None
    source: str | None
    source_offset: int | None
    principal: str | None
    received_at: float
    after: int | None
    status: str | None
    sha256: bytes | None

    @property
    def sound(self) -> bool:
        """Does it hold what it held when it was written?"""
        if self.status != "live":
            return self.status is not None
        if self.body is None or (self.id is None) == (self.kind == EXAMPLE):
            return False
        return digest(f"{self.kind} {self.after}" if self.id is None else self.id, self.body) == self.sha256

    def plain(self) -> dict[str, Any]:
        """The plain data of a command."""
        decoded: dict[str, Any] = msgspec.msgpack.decode(self.body or b"\x80")
        return decoded


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows of one append.

    Args:
        accepted: rows that are now durable entries, first_seq to last_seq.
        duplicates: rows whose id and content were there already.
        forgotten: rows refused because they, or what they derive from, were forgotten on purpose.
        quarantined: rows set apart, each with its reason.
    """

    accepted: int = 0
    duplicates: int = 0
    forgotten: int = 0
    quarantined: int = 0
    first_seq: int | None = None
    last_seq: int | None = None


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was set apart: nothing learned it."""

    n: int
    id: str
    source: str | None
    source_offset: int | None
    body: bytes
    reason: str
    received_at: float
    principal: str | None


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """How far a source has been read: everything before `offset` is durable."""

    name: str
    offset: int
    fingerprint: str | None
    read_at: float


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What a forgetting removed; `seq` is the `forget` command that says so in the journal.

    Args:
        scrubbed: False: a reader in another process holds up the emptying of the log, where the content
            may still lie; call `Journal.scrub` once it is done, or open the home again.
    """

    seq: int
    entries: int
    quarantined: int
    scrubbed: bool


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What retention dropped, and the bytes of bodies that gave back."""

    entries: int
    quarantined: int
    body_bytes: int


class Step(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One step of the learner, as its row in the ledger.

    Args:
        k: its number, from 1, without gaps.
        first_seq, last_seq: the entries it consumed.
        rows: how many rows were fresh.
        replayed: seqs of the replayed rows, int64 little-endian, in draw order.
        lr: learning rate.
        loss: the objective over fresh and replayed rows, in nats under classification; NaN is kept as None.
        correct: fresh rows answered correctly before they were learned; None where that has no meaning.
        verdict: what the guard said; of rows it kept, the drift that was found in them; of a command its
            name, and why.
        digest: of the state after it, at the end of a group; set by `Ledger.commit`.
    """

    k: int
    first_seq: int
    last_seq: int
    rows: int
    replayed: bytes = b""
    lr: float = 0.0
    loss: float | None = None
    correct: int | None = None
    verdict: str = "keep"
    digest: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth telling: a drift, a rollback, a consolidation."""

    kind: str
    body: Mapping[str, Any] = msgspec.field(default_factory=dict)
    at: float
    n: int | None = None


class SnapshotRow(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot as its row in the ledger; its tensors are blobs that the manifest names.

    Args:
        k: the step after which it was taken; 0 is the genesis.
        cursor: the learner's place in the journal, plain data.
        manifest: the state, tensors replaced by references; see `manifest`.
        digest: of the state.
        environment: versions and threads it was computed with.
        pinned: kept whatever the retention.
        sound: False: its row in the ledger does not match its seal; it is passed over.
    """

    k: int
    name: str | None = None
    cursor: Mapping[str, Any]
    manifest: Mapping[str, Any]
    digest: str
    environment: Mapping[str, Any]
    created_at: float
    pinned: bool = False
    sound: bool = True


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where the ledger stands: the last committed step, its cursor and the digest of its state."""

    k: int
    cursor: Mapping[str, Any]
    digest: str | None
    at: float


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Steps first_k to last_k of the loss curve, averaged over their rows."""

    first_k: int
    last_k: int
    rows: int
    loss: float | None
    correct: int | None
