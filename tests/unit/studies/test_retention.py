"""Live retention asks only what was learned, draws it evenly, and changes nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tenuto import OnlineExample, Session
from tenuto.studies.retention import drawn, retention


def rows(start: int, stop: int) -> list[OnlineExample]:
    return [OnlineExample(input=[float(i)], target=i % 2, id=str(i)) for i in range(start, stop)]


def test_it_draws_from_all_that_was_learned_and_from_nothing_else(tmp_path: Path) -> None:
    with Session(tmp_path / "home", config={"batch_size": 8, "hidden": [4]}) as session:
        assert retention(session) is None
        session.ingest(rows(0, 100))
        session.run()
        seen: Counter[float] = Counter()
        for _ in range(4):
            batch = drawn(session, 500)
            assert batch is not None
            seen.update(batch.inputs[:, 0].tolist())
        assert set(seen) == {float(i) for i in range(96)}, "the last four rows wait for their batch"
        digest = session.learner.digest()
        assert 0 <= (retention(session) or 0) <= 1
        assert session.learner.digest() == digest
        session.snapshot("here")
        session.ingest(rows(100, 200))
        session.run()
        session.reset("here")
        session.forget(id="7")
        batch = drawn(session, 1000)
        assert batch is not None
        assert set(batch.inputs[:, 0].tolist()) <= {float(i) for i in range(100) if i != 7}


def test_the_draw_is_even(tmp_path: Path) -> None:
    with Session(tmp_path / "home", config={"batch_size": 1, "hidden": [2]}) as session:
        session.ingest(rows(0, 1000))
        seen: Counter[int] = Counter()
        for step in session.walk():
            if step.k > 900 and (batch := drawn(session, 60)) is not None:
                seen.update(int(row) // 100 for row in batch.inputs[:, 0].tolist())
        share = sum(seen[tenth] for tenth in range(9)) / 9
        assert all(abs(seen[tenth] - share) < 0.15 * share for tenth in range(9))


def test_numbers_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    with Session(tmp_path / "home", config={"task": "regression", "hidden": [2]}) as session:
        session.ingest(rows(0, 20))
        session.run()
        assert retention(session) is None
