"""The benchmark that has everything on, in small: a process killed on its way, and the same digest."""

from __future__ import annotations

from pathlib import Path

from benchmarks import everything_on
from tenuto.session import recovery

ROWS, PLACE = 3000, 1000


def learned(home: Path) -> str:
    """The digest after all rows; the home goes on where it stands, and its log makes the same."""
    with everything_on.opened(home, ROWS) as session:
        known = session.home.journal.source("stream")
        for start in range(0 if known is None else known.offset, ROWS, everything_on.CHUNK):
            session.ingest(everything_on.chunk(start, ROWS), source="stream")
            session.run()
        session.flush()
        verdicts = session.home.ledger.verdicts()
        assert any(verdict.startswith("drift") for verdict in verdicts), verdicts
        counts = session.home.journal.counts()
        assert (counts["quarantined"], counts["duplicates"]) == (2, 1)
        assert session.learner.stats.consolidations > 1
        return session.learner.digest()


def test_a_killed_process_ends_where_one_left_alone_does(tmp_path: Path) -> None:
    life = everything_on.live(tmp_path / "killed", ROWS, PLACE, wait=0.5)
    assert life.end is None
    assert life.said[-1]["rows"] < ROWS
    digest = learned(tmp_path / "killed")
    assert digest == learned(tmp_path / "whole")
    with everything_on.opened(tmp_path / "killed", ROWS) as session:
        assert recovery.verify(session.home, session._make).holds
        assert session.learner.digest() == digest
