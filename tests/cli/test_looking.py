"""Verbs that look at a home: what they tell, and that they do it without torch, beside a writer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tenuto.store.home import Home
from tests.cli.conftest import document, example, within, write

HEAVY = {"torch", "numpy", "rich", "sklearn", "matplotlib"}


def imported(*arguments: object) -> set[str]:
    """The heavy packages that the command imports."""
    traced = [sys.executable, "-X", "importtime", "-m", "tenuto", *map(str, arguments)]
    done = subprocess.run(traced, capture_output=True, text=True, timeout=60, check=True)
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "tenuto" in names
    return names & HEAVY


def test_looking_imports_nothing_heavy(learned: Path, tmp_path: Path) -> None:
    assert imported("--version") == imported("--help") == imported("learn", "--help") == set()
    for verb in ("status", "quarantine", "snapshots"):
        assert imported(verb, "--home", learned) == imported(verb, "--home", learned, "--json") == set()
    assert imported("report", "--home", learned, "--out", tmp_path / "r.html") == set()


def test_status_tells_everything(learned: Path) -> None:
    told = document(within("status", "--home", learned, "--json"))
    assert told["method"] == "derpp"
    assert told["rows"] == {
        "learned": 300,
        "queued": 0,
        "aside": 0,
        "quarantined": 2,
        "duplicates": 0,
        "forgotten": 0,
        "dropped": 0,
    }
    assert told["step"] == told["recent_steps"] == 30
    assert 0 < told["progressive_accuracy"] < 1
    assert told["loss"] > 0
    assert told["memory"]["rows"] == told["memory"]["read"] == sum(told["memory"]["classes"].values()) == 40
    assert [(row["step"], row["name"]) for row in told["snapshots"]] == [(30, None), (0, "genesis")]
    assert told["sources"] == [{"name": "train.jsonl", "rows": 302}]
    assert told["bytes"]["blobs"] > 1000
    assert told["writer"] is None
    text = within("status", "--home", learned).stdout
    for part in (
        "derpp on mlp",
        "300 learned, 0 queued, 2 quarantined",
        "'genesis'",
        told["digest"],
        "no one",
    ):
        assert part in text


def test_status_names_the_writer_it_stands_beside(tmp_path: Path) -> None:
    config = {"method": "er", "options": {}, "model": "mlp", "config": {"task": "regression", "seed": 4}}
    with Home.create(tmp_path / "home", config=config) as home:
        told = document(within("status", "--home", home.path, "--json"))
    assert told["writer"] is not None
    assert told["step"] == 0
    assert told["loss"] is told["progressive_accuracy"] is None


def test_quarantine_tells_rows_and_reasons(learned: Path) -> None:
    told = document(within("quarantine", "--home", learned, "--json"))
    assert told["quarantined"] == 2
    short, malformed = told["rows"]
    assert (short["id"], short["row"]) == ("short", 301)
    assert "row 'short': input has shape (1,) instead of (4,)" in short["reason"]
    assert malformed["content"] == '{"input": [1, 2'
    assert "line 301 (row 300)" in malformed["reason"]
    assert document(within("quarantine", "--home", learned, "--json", "--id", "short"))["rows"] == [short]
    text = within("quarantine", "--home", learned, "--limit", 1).stdout
    assert "short" in text
    assert "1 of 2 rows set apart" in text


def test_snapshots_can_be_listed(learned: Path) -> None:
    told = document(within("snapshots", "--home", learned, "--json"))["snapshots"]
    assert [row["step"] for row in told] == [30, 0]
    assert told[0]["digest"] == document(within("status", "--home", learned, "--json"))["digest"]
    assert "genesis" in within("snapshots", "--home", learned).stdout


def test_a_report_is_a_page_and_a_picture(learned: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "r.html", tmp_path / "r.png"
    done = within("report", "--home", learned, "--out", page, "--png", picture, "--json")
    assert document(done) == {
        "home": str(learned),
        "report": str(page),
        "png": str(picture),
        "sites": None,
    }
    text = page.read_text()
    for part in (
        "What memory holds",
        "Progressive accuracy",
        "Where it can go back to",
        "row &#x27;short&#x27;",
    ):
        assert part in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_report_that_cannot_be_written_says_where(learned: Path, tmp_path: Path) -> None:
    done = within("report", "--home", learned, "--out", tmp_path / "none" / "r.html")
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path / 'none' / 'r.html'}: No such file or directory\n"


@pytest.mark.parametrize(
    "verb", ["status", "report", "quarantine", "snapshots", "predict", "recall", "verify", "forget"]
)
def test_a_home_that_is_not_there_is_named(verb: str, tmp_path: Path) -> None:
    needs: dict[str, tuple[Any, ...]] = {"predict": ("-",), "recall": ("-",), "forget": ("--id", "x")}
    done = within(verb, *needs.get(verb, ()), "--home", tmp_path / "none", "--json")
    assert done.returncode == 1
    assert document(done)["error"]["kind"] == "HomeMissing"
    assert f"there is no home at {tmp_path / 'none'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_names_what_is_wrong_and_changes_nothing(learned: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in learned.rglob("*") if path.is_file()}
    told = document(within("doctor", "--home", learned, "--json"))
    assert {path: path.read_bytes() for path in before} == before
    assert set(told) == {"home", "findings"}
    home = tmp_path / "home"
    rows = write(tmp_path / "rows.jsonl", [example(n) for n in range(2200)])
    made = within("learn", rows, "--home", home, "--method", "lwf", "--set", "replay_ratio=0.9")
    assert made.returncode == 0, made.stderr
    said = within("doctor", "--home", home)
    assert said.returncode == 0, said.stderr
    assert "never_consolidated (critical)" in said.stdout
    assert "remedy: call consolidate()" in said.stdout
