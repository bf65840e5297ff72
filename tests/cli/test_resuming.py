"""However a learner ends, the same command goes on from there to the same model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tenuto import Session, open_stream
from tenuto.errors import StoreError
from tenuto.store.home import Home
from tests.cli.conftest import ENVIRONMENT, TENUTO, document, example, tenuto, write

ROWS = 4000
CONFIG = {"hidden": [8], "memory_size": 50, "batch_size": 4}
OPTIONS = (
    *("--set", "hidden=[8]", "--memory-size", "50", "--batch-size", "4"),
    *("--set", "ingest_rows=40", "--set", "commit_every=30", "--set", "snapshot_every=100", "--json"),
)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("stream") / "train.jsonl", [example(number) for number in range(ROWS)]
    )


@pytest.fixture(scope="module")
def whole(stream: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of a run that nobody disturbed."""
    with Session(tmp_path_factory.mktemp("whole") / "home", config=CONFIG) as session:
        session.learn(open_stream(stream))
        return session.learner.digest()


def start(stream: Path, home: Path, rows: int) -> subprocess.Popen[str]:
    """A learner that has acknowledged at least `rows` rows and is still at work."""
    command = [*TENUTO, "learn", str(stream), "--home", str(home), *OPTIONS]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    until = time.monotonic() + 60
    while acknowledged(home) < rows:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < until
        time.sleep(0.002)
    return child


def acknowledged(home: Path) -> int:
    with suppress(StoreError), Home.view(home) as view:
        return view.journal.last_seq
    return 0


def steps(home: Path) -> int:
    with suppress(StoreError), Home.view(home) as view:
        return view.ledger.head.k
    return 0


def test_killed_twice_it_ends_where_an_undisturbed_run_does(stream: Path, whole: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for rows in (600, 1800):
        child = start(stream, home, rows)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        assert rows <= acknowledged(home) < ROWS
    told = document(tenuto("learn", stream, "--home", home, *OPTIONS))
    assert told["digest"] == whole
    status = document(tenuto("status", "--home", home, "--json"))
    assert (status["rows"]["learned"], status["rows"]["duplicates"]) == (ROWS, 0)


def test_asked_to_stop_it_commits_and_goes_on_later(stream: Path, whole: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    child = start(stream, home, 800)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (130, "")
    told = json.loads(out)
    assert told["stopped"] == "SIGINT"
    with Home.view(home) as view:
        assert view.ledger.head.k == told["step"] == told["steps"]
    again = document(tenuto("learn", stream, "--home", home, *OPTIONS))
    assert again["digest"] == whole
    assert again["rows"] + told["rows"] == ROWS


def test_a_pipe_can_be_stopped_while_it_waits_and_sent_again(tmp_path: Path) -> None:
    home, lines = (
        tmp_path / "home",
        write(tmp_path / "rows.jsonl", [example(n) for n in range(100)]).read_text(),
    )
    command = [*TENUTO, "learn", "-", "--home", str(home), "--json", "--set", "commit_every=1"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=ENVIRONMENT, **pipes) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("".join(line + "\n" for line in lines.splitlines()[:55]))
        child.stdin.flush()
        until = time.monotonic() + 60
        while steps(home) < 5:
            assert time.monotonic() < until
            time.sleep(0.01)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=60) == 143
        told = json.loads(child.stdout.read())
    assert (told["stopped"], told["steps"]) == ("SIGTERM", 5)
    told = document(tenuto("learn", "-", "--home", home, "--json", stdin=lines))
    assert (told["accepted"], told["duplicates"], told["rows"]) == (45, 55, 50)
