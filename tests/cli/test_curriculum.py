"""`tenuto learn --curriculum`: killed in the middle, it ends where an undisturbed run does."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tenuto import Session, open_stream
from tenuto.errors import StoreError
from tenuto.store.home import Home
from tenuto.streams import Pacing, paced
from tests.cli.conftest import ENVIRONMENT, TENUTO, document, killed, within, write
from tests.levels import levelled

ROWS = 2400
CONFIG = {"hidden": [8], "memory_size": 50, "batch_size": 4}
CURRICULUM = ("--curriculum", "--pacing", "window=300", "--pacing", "patience=500", "--pacing", "start=0")
OPTIONS = (
    *("--set", "hidden=[8]", "--memory-size", "50", "--batch-size", "4", "--set", "ingest_rows=40"),
    *("--set", "commit_every=30", "--set", "snapshot_every=100", "--json"),
)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {"input": row.input, "target": row.target, "level": row.level} for row in levelled(ROWS, levels=4)
    ]
    return write(tmp_path_factory.mktemp("stream") / "rows.jsonl", rows)


def acknowledged(home: Path) -> int:
    with suppress(StoreError), Home.view(home) as view:
        return view.journal.last_seq
    return 0


def entries(home: Path) -> list[tuple[str, int | None]]:
    with Home.view(home) as view:
        return [(entry.id, entry.source_offset) for entry in view.journal.examples(limit=2 * ROWS)]


def test_killed_while_rows_are_held_back_it_loses_none_and_keeps_the_order(
    stream: Path, tmp_path: Path
) -> None:
    with Session(tmp_path / "whole", config=CONFIG) as session:
        session.learn(paced(open_stream(stream), Pacing(window=300, patience=500, start=0)))
        digest = session.learner.digest()
    whole = entries(tmp_path / "whole")
    assert sorted(own for _, own in whole) == list(range(ROWS))
    assert [own for _, own in whole] != list(range(ROWS))

    home = tmp_path / "home"
    command = [*TENUTO, "learn", str(stream), "--home", str(home), *OPTIONS, *CURRICULUM]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    killed(child, lambda: acknowledged(home) >= 400)
    cut = entries(home)
    assert 400 <= len(cut) < ROWS
    assert cut == whole[: len(cut)]
    assert {own for _, own in cut} != set(range(len(cut))), "rows were held back when it was killed"

    told = document(within("learn", stream, "--home", home, *OPTIONS, *CURRICULUM))
    assert told["digest"] == digest
    assert entries(home) == whole


def test_what_a_curriculum_cannot_do_is_said(stream: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    lone = within("learn", stream, "--home", home, "--pacing", "window=3")
    assert lone.returncode == 2
    assert "give --curriculum too" in lone.stderr
    unknown = within("learn", stream, "--home", home, "--curriculum", "--pacing", "speed=3")
    assert unknown.returncode != 0
    assert (
        "a curriculum has no option 'speed'; it has: window, patience, start, power, rows" in unknown.stderr
    )
    pipe = within("learn", "-", "--home", home, "--curriculum", stdin=stream.read_text())
    assert pipe.returncode != 0
    assert "stdin is a pipe" in pipe.stderr
    assert acknowledged(home) == 0
