"""What a home protects, site by site, in its report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tenuto import OnlineExample, OnlineLearnerConfig, Session, SessionConfig
from tenuto.cli.shared.program import program
from tenuto.cli.shared.sites import listing, sites
from tenuto.store.home import Home
from tests import language
from tests.data import folder

CONFIG = OnlineLearnerConfig(
    task="language", optimizer="adamw", learning_rate=5e-3, batch_size=1, passes=15, boundaries="domain"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that was taught a fact, protected it, and was corrected."""
    path = tmp_path_factory.mktemp("sites") / "home"
    options = {"ratio": 0.0, "threshold": 1.0, "directions": 48, "general": 0}
    told = [(language.FACTS[0], "one"), (language.FACTS[1], "two")]
    rows = [language.row(*fact, id=domain, domain=domain) for fact, domain in told]
    corrected: OnlineExample = language.row(language.FACTS[0][0], " Rusto", id="three", domain="two")
    often, base = SessionConfig(contradictions="learn"), str(folder("stories260K"))
    with Session(path, base, CONFIG, method="ogp_lora", options=options, settings=often) as session:
        session.ingest([*rows, corrected])
        session.run()
    return path


def test_a_report_tells_every_site(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = CliRunner().invoke(
        program, ["report", "--home", str(home), "--out", str(out), "--json"], catch_exceptions=False
    )
    told = json.loads(done.output)["sites"]
    with Home.view(home) as view:
        found = sites(view)
    assert told == found
    assert {one["site"].rpartition(".")[2] for one in told} == {"down_proj"}
    assert all(0 < one["directions"] <= 48 for one in told)
    assert all(0.5 < one["captured"] < 1 + 1e-6 for one in told)
    assert all(0 < one["kappa"] < 1 for one in told)
    assert all(0 < one["leak"] < 1e-5 for one in told)
    assert max(one["revisions"] for one in told) <= 1
    assert all((one["released"] > 0) == (one["revisions"] > 0) for one in told)
    page = out.read_text()
    assert "What the adapter protects" in page
    for row in listing(told).rows:
        assert all(text in page for text in row)


def test_a_home_without_sites_has_none(tmp_path: Path) -> None:
    config = replace(CONFIG, task="classification", optimizer="sgd", passes=1)
    with Session(tmp_path / "home", config=config) as session:
        session.ingest([OnlineExample(input=[0.0, 1.0], target="a", id="a")])
        session.run()
    with Home.view(tmp_path / "home") as view:
        assert sites(view) is None
