"""What a client does to a session, and how it asks again for what got no answer.

A client that was cut off does not know whether its last act took effect. It opens the home and repeats that
act: rows are known by their ids, a flush or a take of what was learned changes nothing, and before anything
that acts twice when asked twice it looks into the journal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from tenuto.session import Session
from tenuto.types import Batch, OnlineExample

FEATURES = 4


class Act(Protocol):
    """One thing a client does; acknowledged when `do` returns."""

    def do(self, session: Session) -> None: ...
    def again(self, session: Session) -> None: ...


@dataclass(frozen=True)
class Ingest:
    """Send rows."""

    rows: tuple[OnlineExample, ...]
    source: str = "story"

    def do(self, session: Session) -> None:
        session.ingest(self.rows, source=self.source)

    again = do


@dataclass(frozen=True)
class Clash:
    """Send a row under an id that other content has taken; it is set apart."""

    row: OnlineExample
    source: str = "story"

    def do(self, session: Session) -> None:
        session.ingest([self.row], source=self.source)

    again = do


@dataclass(frozen=True)
class Run:
    """Learn every whole batch."""

    def do(self, session: Session) -> None:
        session.run()

    again = do


@dataclass(frozen=True)
class Flush:
    """Learn the rest too."""

    def do(self, session: Session) -> None:
        session.flush()

    again = do


@dataclass(frozen=True)
class Take:
    """Learn these rows now; `once` where a guard may refuse them, as it would again at a second take."""

    ids: tuple[str, ...]
    once: bool = False

    def do(self, session: Session) -> None:
        session.take(self.ids)

    def again(self, session: Session) -> None:
        session.run()
        journal = session.home.journal
        seqs = [entry.seq for id in self.ids if (entry := journal.lookup(id)) is not None]
        asked = [order.plain()["seqs"] for order in journal.commands() if order.kind == "take"]
        if not (self.once and seqs in asked):
            self.do(session)


@dataclass(frozen=True)
class Consolidate:
    """Close the context; the `number`-th time in this home."""

    number: int = 1

    def do(self, session: Session) -> None:
        session.consolidate()

    def again(self, session: Session) -> None:
        session.run()
        if sum(entry.kind == "consolidate" for entry in session.home.journal.commands()) < self.number:
            session.consolidate()


@dataclass(frozen=True)
class Audit:
    """Ask rows that are never learned; the `number`-th time in this home."""

    number: int

    def do(self, session: Session) -> None:
        asked = [lawful(n) for n in range(10_000, 10_400)]
        inputs = torch.tensor(np.stack([row.input for row in asked]))
        session.audit(Batch(inputs, [row.target for row in asked]))

    def again(self, session: Session) -> None:
        session.run()
        if sum(entry.kind == "audit" for entry in session.home.journal.commands()) < self.number:
            self.do(session)


@dataclass(frozen=True)
class Thaw:
    """Accept what was lost, if the learner is frozen."""

    def do(self, session: Session) -> None:
        if session.frozen:
            session.thaw()

    again = do


@dataclass(frozen=True)
class Snapshot:
    """Keep this state under a name."""

    name: str

    def do(self, session: Session) -> None:
        session.snapshot(self.name)

    again = do


@dataclass(frozen=True)
class Reset:
    """Go back to a snapshot."""

    name: str

    def do(self, session: Session) -> None:
        session.reset(self.name)

    again = do


@dataclass(frozen=True)
class Forget:
    """Unlearn exactly what one argument names."""

    id: str | None = None
    source: str | None = None
    principal: str | None = None

    def do(self, session: Session) -> None:
        session.forget(id=self.id, source=self.source, principal=self.principal)

    def again(self, session: Session) -> None:
        session.run()
        if session.home.journal.seqs(id=self.id, source=self.source, principal=self.principal):
            self.do(session)

    def names(self, row: OnlineExample, source: str) -> bool:
        """Is this row asked to be forgotten?"""
        return (
            row.id == self.id
            or source == self.source
            or (self.principal is not None and row.principal == self.principal)
        )


@dataclass(frozen=True)
class Reopen:
    """Close the home and open it, perhaps with another learning rate."""

    learning_rate: float | None = None

    def do(self, session: Session) -> None:
        raise NotImplementedError("the client reopens")

    again = do


def example(
    n: int,
    *,
    secret: bool = False,
    principal: str | None = None,
    derived_from: tuple[str, ...] = (),
    id: str | None = None,
) -> OnlineExample:
    """Row number n: unlike any other, its class from a growing set.

    Args:
        secret: with a label and a domain of its own, to be looked for in files.
    """
    draws = np.random.default_rng(n)
    known = min(5, 2 + n // 16)
    return OnlineExample(
        id=id or f"r{n}",
        input=draws.normal(size=FEATURES).astype(np.float32),
        target=f"secret-label-{n:03d}" if secret else f"c{int(draws.integers(known))}",
        domain=f"secret-domain-{n:03d}" if secret else None,
        principal=principal,
        derived_from=derived_from,
    )


def lawful(n: int, *, scale: float = 1.0, shift: int = 0) -> OnlineExample:
    """Row number n: two numbers of its input tell its class; the law may shift, or the numbers grow."""
    inputs = np.random.default_rng(n).normal(size=FEATURES).astype(np.float32)
    number = int(inputs[0] > 0) + 2 * int(inputs[1] > 0)
    return OnlineExample(id=f"r{n}", input=inputs * np.float32(scale), target=f"c{(number + shift) % 4}")


def lawfully(first: int, last: int, *, scale: float = 1.0, shift: int = 0) -> Ingest:
    """Such rows, first to last - 1, in one chunk."""
    return Ingest(tuple(lawful(n, scale=scale, shift=shift) for n in range(first, last)))


def span(first: int, last: int) -> Ingest:
    """Rows first to last - 1 in one chunk."""
    return Ingest(tuple(example(n) for n in range(first, last)))


def marks(row: OnlineExample, *, labels: bool = True) -> list[bytes]:
    """Bytes that only this row's content can have put into a file.

    Args:
        labels: False: the home's configuration lists them.
    """
    texts = (row.target, row.domain) if labels else (row.domain,)
    secrets = [text.encode() for text in texts if isinstance(text, str) and text.startswith("secret")]
    return [np.asarray(row.input).tobytes(), *secrets]
