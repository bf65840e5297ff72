"""A home keeps its settings: those given must agree with it, those left out are its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenuto import OnlineExample, OnlineLearnerConfig, Session, SessionConfig
from tenuto.errors import ConfigError

ROWS = [OnlineExample(input=[float(i % 2), 1.0], target=i % 2, id=str(i)) for i in range(40)]


def test_settings_left_out_are_the_homes_own(tmp_path: Path) -> None:
    with Session(
        tmp_path / "home", config={"memory_size": 7, "learning_rate": 0.5}, settings={"strict": True}
    ):
        pass
    with Session(tmp_path / "home", config={"batch_size": 10}, settings={"ingest_rows": 5}) as session:
        assert session.learner.config == OnlineLearnerConfig(memory_size=7, learning_rate=0.5)
        assert session.settings == SessionConfig(strict=True, ingest_rows=5)


def test_a_rate_changed_on_the_way_stays_changed(tmp_path: Path) -> None:
    with Session(tmp_path / "home", config={"learning_rate": 0.5}) as session:
        session.ingest(ROWS)
        session.run()
    with Session(tmp_path / "home", config={"learning_rate": 0.25}) as session:
        session.run()
    with Session(tmp_path / "home", config={"memory_size": 500}) as session:
        assert session.learner.config.learning_rate == 0.25


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"config": {"memory_size": 9}}, "was made with memory_size 7, not 9"),
        ({"method": "naive"}, "was made with method 'derpp', not 'naive'"),
        ({"options": {"alpha": 2.0}}, "was made with options"),
        ({"model": "mlp:8"}, "was made with model 'mlp', not 'mlp:8'"),
        ({"config": {"memory_sise": 9}}, "did you mean 'memory_size'"),
        ({"method": "derp"}, "did you mean 'derpp'"),
    ],
)
def test_what_cannot_change_is_refused(tmp_path: Path, given: dict[str, object], fault: str) -> None:
    with Session(tmp_path / "home", config={"memory_size": 7}, method="der++"):
        pass
    with pytest.raises(ConfigError, match=fault):
        Session(tmp_path / "home", **given)
    with Session(tmp_path / "home", method="derpp"):
        pass
