"""A state gets its name whether or not it happens to be kept already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tenuto import OnlineExample, OnlineLearnerConfig, Session, SessionConfig
from tenuto.errors import ConfigError


def rows(start: int, stop: int) -> list[OnlineExample]:
    inputs = np.random.default_rng(7).normal(size=(100, 4)).astype(np.float32)
    return [
        OnlineExample(input=inputs[i], target=int(inputs[i, 0] > 0), id=f"r{i}") for i in range(start, stop)
    ]


def session(home: Path, snapshot_every: int) -> Session:
    config = OnlineLearnerConfig(hidden=(8,), memory_size=20, batch_size=5)
    return Session(home, config=config, settings=SessionConfig(snapshot_every=snapshot_every))


@pytest.mark.parametrize("every", [1, 2, 3, 1000])
def test_a_named_snapshot_is_of_this_very_place(tmp_path: Path, every: int) -> None:
    with session(tmp_path, every) as s:
        s.ingest(rows(0, 33))
        s.run()
        row = s.snapshot("good")
        assert (row.k, row.name, row.pinned, row.cursor["pending"]) == (6, "good", True, [31, 32, 33])
        assert s.snapshot("good") == row == s.snapshot()
        good = s.learner.digest()
        s.ingest(rows(33, 50))
        s.run()
        s.reset("good")
        assert s.learner.digest() == good
        assert not s.fold.cursor.is_aside(33)
        assert s.fold.cursor.is_aside(34)
        s.flush()
        assert s.learner.stats.examples == 33


def test_a_state_has_one_name_and_a_name_one_state(tmp_path: Path) -> None:
    with session(tmp_path, 1000) as s:
        s.ingest(rows(0, 10))
        s.run()
        s.snapshot("good")
        with pytest.raises(ConfigError, match="step 2 is kept already, as good"):
            s.snapshot("better")
        s.ingest(rows(10, 20))
        s.run()
        with pytest.raises(ConfigError, match="named 'good' is there already"):
            s.snapshot("good")
