"""Homes of every earlier format open, answer, learn on and forget (one fixture per format, by listing)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tenuto import Session
from tenuto.errors import ConfigError
from tenuto.store.format import FORMAT
from tests.homes.make import rows

HERE = Path(__file__).parent
FIXTURES = sorted(path.name.removesuffix(".zip") for path in HERE.glob("format-*.zip"))


@pytest.fixture(params=FIXTURES)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of an old home, and what must be found in it."""
    shutil.unpack_archive(HERE / f"{request.param}.zip", tmp_path)
    return tmp_path / "home", json.loads((HERE / f"{request.param}.json").read_text())


def test_every_format_has_a_fixture() -> None:
    assert [f"format-{n}" for n in range(1, FORMAT + 1)] == FIXTURES


def test_an_old_home_is_found_as_it_was_left(old: tuple[Path, dict[str, Any]]) -> None:
    home, expected = old
    with Session(home) as session:
        assert session.k == expected["step"]
        assert session.learner.digest() == expected["digest"]
        assert session.learner.stats.examples == expected["examples"]
        assert [row.k for row in session.home.snapshots.list()] == expected["snapshots"]
        assert session.predict([[-1.0, 0.0], [1.0, 0.0]]).labels == expected["labels"]


def test_an_old_home_lives_on(old: tuple[Path, dict[str, Any]]) -> None:
    home, expected = old
    with Session(home) as session:
        again = session.ingest(rows(0, 65), source="fixture")
        assert (again.accepted, again.duplicates) == (20, 44)  # r25 stays forgotten
        session.flush()
        assert session.learner.stats.examples == expected["examples"] + 20
        session.forget(id="r50")
        assert session.learner.stats.examples == expected["examples"] + 19
        with pytest.raises(ConfigError, match="r25"):
            session.forget(id="r25")
        session.reset("good")
        assert session.k == 2
        assert session.learner.stats.examples == 20
