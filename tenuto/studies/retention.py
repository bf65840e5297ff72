"""Live retention: is what was learned still answered right?

Rows are drawn uniformly from everything a session has learned, read again from its journal, and asked
again. The draw is keyed by the step, so it is no secret, costs no state and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tenuto.randomness import choose
from tenuto.session import Session
from tenuto.store.cursor import Cursor
from tenuto.store.records import Entry
from tenuto.streams.encoding import collate
from tenuto.types import Batch


def retention(session: Session, rows: int = 256) -> float | None:
    """The share of up to `rows` rows learned so far that are still answered right.

    None before the first row, and under regression, where no answer is right or wrong.

    >>> import tempfile
    >>> from tenuto import OnlineExample
    >>> with Session(tempfile.mkdtemp(), config={"learning_rate": 0.1}) as session:
    ...     made = [OnlineExample(input=[i % 2, 1.0], target=i % 2, id=str(i)) for i in range(200)]
    ...     receipt, steps = session.ingest(made), session.run()
    ...     retention(session)
    1.0
    """
    batch = drawn(session, rows)
    return None if batch is None else accuracy(session, batch)


def drawn(session: Session, rows: int) -> Batch | None:
    """Rows drawn from everything learned so far; None where there is none, and under regression."""
    cursor, config = session.fold.cursor, session.learner.config
    if config.task != "classification" or not cursor.seq:
        return None
    count = min(rows, cursor.seq)
    seqs = choose(config.seed, "live retention", session.k, count, cursor.seq)[0] + 1
    bodies = [
        entry.body or b"" for entry in _learned(session.home.journal.fetch(sorted(seqs.tolist())), cursor)
    ]
    return collate(bodies) if bodies else None


def accuracy(session: Session, batch: Batch) -> float:
    """The share of a batch's rows that is answered right."""
    answers = session.predict(batch.inputs).labels
    right = [bool(answer == target) for answer, target in zip(answers, batch.targets, strict=True)]
    return sum(right) / len(right)


def squared_error(session: Session, batch: Batch) -> float:
    """The mean squared error of the answers to a batch's rows, under regression."""
    answers = np.asarray(session.predict(batch.inputs).labels, dtype=np.float64)
    return float(np.mean((answers - np.asarray(batch.targets, dtype=np.float64)) ** 2))


def _learned(entries: Iterable[Entry], cursor: Cursor) -> list[Entry]:
    waiting = set(cursor.pending)
    return [
        entry
        for entry in entries
        if entry.kind == "example"
        and entry.status == "live"
        and entry.seq not in waiting
        and not cursor.is_aside(entry.seq)
    ]
