"""An adapter retires by an entry of the journal: after a resume, a replay and a forget it is as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tenuto import OnlineExample, OnlineLearnerConfig, Session, SessionConfig
from tenuto.errors import ConfigError
from tenuto.session import recovery
from tests.cli.conftest import document, within

CONFIG = OnlineLearnerConfig(learning_rate=0.1, hidden=(8,), batch_size=8)
OFTEN = SessionConfig(commit_every=2, snapshot_every=50)
PLACES = {"near": 0.0, "far": 3.0, "left": -3.0}


def rows(domain: str, count: int = 16) -> list[OnlineExample]:
    draws = torch.Generator().manual_seed(0)
    inputs = 0.3 * torch.randn(count, 4, generator=draws) + PLACES[domain]
    return [
        OnlineExample(input=one.tolist(), target=f"{domain}{n % 2}", domain=domain, id=f"{domain}-{n}")
        for n, one in enumerate(inputs)
    ]


def opened(path: Path) -> Session:
    return Session(path, config=CONFIG, method="progressive", settings=OFTEN)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with opened(tmp_path / "home") as session:
        for domain in PLACES:
            session.ingest(rows(domain))
        session.flush()
    return tmp_path / "home"


def asked(session: Session) -> list[str | None]:
    return session.learner.route(torch.full((1, 4), PLACES["far"]))


def test_it_answers_no_row_any_more_whatever_comes_between(home: Path) -> None:
    with opened(home) as session:
        assert asked(session) == ["far"]
        session.retire("far")
        assert asked(session) != ["far"]
        digest = session.learner.digest()
        assert recovery.verify(session.home, session._make).holds
    with opened(home) as session:
        assert session.learner.digest() == digest
        assert session.learner.adapters is not None
        assert session.learner.adapters.retired == ["far"]
        session.forget(id=[f"near-{n}" for n in range(8)])
        assert session.learner.adapters is not None
        assert session.learner.adapters.retired == ["far"]
        assert recovery.verify(session.home, session._make).holds


def test_where_all_that_made_it_is_forgotten_nothing_retires(home: Path) -> None:
    with opened(home) as session:
        session.retire("far")
        session.forget(id=[f"far-{n}" for n in range(16)])
        assert session.learner.adapters is not None
        assert "far" not in session.learner.adapters.names
        assert recovery.verify(session.home, session._make).holds


def test_what_cannot_retire_is_refused_and_no_entry_is_written(home: Path, tmp_path: Path) -> None:
    with opened(home) as session:
        before = session.home.journal.last_seq
        for name in ("left", "unheard of"):
            with pytest.raises(ConfigError, match="that could retire; those are: near, far"):
                session.retire(name)
        assert session.home.journal.last_seq == before
    with (
        Session(tmp_path / "other", config=CONFIG) as session,
        pytest.raises(ConfigError, match="gives no context an adapter of its own"),
    ):
        session.retire("far")


def test_from_the_command_line(home: Path) -> None:
    told = document(within("adapters", "retire", "far", "--home", home, "--json"))
    assert told["answering"] == ["near", "left"]
    assert within("verify", "--home", home).returncode == 0
    assert within("adapters", "retire", "left", "--home", home).returncode == 1
