"""Resting at the command line: a clock calls for it while standard input is silent; the journal says why."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tenuto.errors import StoreError
from tenuto.store.home import Home
from tests.cli.conftest import ENVIRONMENT, TENUTO, document, example, within


def rests(home: Path) -> list[str]:
    """The verdicts of consolidations, and how often each."""
    with suppress(StoreError), Home.view(home) as view:
        return [verdict for verdict in view.ledger.verdicts() if verdict.startswith("consolidate")]
    return []


def test_a_silence_brings_a_rest_and_a_replay_needs_no_clock(tmp_path: Path) -> None:
    home, pipe = tmp_path / "home", subprocess.PIPE
    learn = ["learn", "-", "--home", str(home), "--rest-idle", "0.2", "--sleep-updates", "5", "--json"]
    with subprocess.Popen(
        [*TENUTO, *learn], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT
    ) as child:
        assert child.stdin is not None
        child.stdin.writelines(json.dumps(example(n)) + "\n" for n in range(25))
        child.stdin.flush()
        until = time.monotonic() + 60
        while not rests(home):
            assert child.poll() is None, child.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        told, said = child.communicate("".join(json.dumps(example(n)) + "\n" for n in range(25, 40)))
    found = json.loads(told)
    assert found["error"] is None, said
    assert (found["rows"], found["rests"]) == (40, {"idle": 1})
    assert rests(home) == ["consolidate: idle"]
    with Home.view(home) as view:
        [order] = [entry for entry in view.journal.commands() if entry.kind == "consolidate"]
        assert order.plain()["found"].startswith("no row came for")
    assert document(within("verify", "--home", home, "--json"))["holds"] is True


@pytest.mark.parametrize(("flag", "named"), [("--rest-at=24", "hour"), ("--rest-idle=0", "idle")])
def test_an_hour_that_is_none_is_refused(tmp_path: Path, flag: str, named: str) -> None:
    done = within("learn", "-", "--home", tmp_path / "home", flag)
    assert done.returncode != 0
    assert named in done.stderr
    assert not (tmp_path / "home").exists()
