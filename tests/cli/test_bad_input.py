"""Whatever is wrong with the input is told in one clear line, and nothing is lost by it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tenuto.store.database import Database, set_meta
from tenuto.store.home import Home
from tests.cli.conftest import ENVIRONMENT, TENUTO, document, example, tenuto, within, write

POWERLESS = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: what lets root read everything
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
GOOD = [example(number) for number in range(60)]
BAD = [
    ('{"input": [0.1, 0.2', "line 31 (row 30): Input data was truncated; correct the row"),
    (
        {**example(100), "input": [1.0]},
        "row 'r100': input has shape (1,) instead of (4,); send rows of one shape",
    ),
    ({"input": [1.0, 2.0, 3.0, 4.0]}, "line 33 (row 32): Object missing required field `target`; write it"),
    ('{"input": [1.0, NaN, 0.0, 0.0], "target": 1}', "line 34 (row 33): JSON is malformed"),
    (
        '{"input": [1.0, 1e39, 0.0, 0.0], "target": 1}',
        "row 'mixed.jsonl:34': input[1] is inf, which is not finite",
    ),
    ({**example(104), "target": "cat"}, "row 'r104': target 'cat' is text where the rows before it have"),
    ({**example(3), "target": 9}, "id 'r3' was already taken by other content. Send it under a new id"),
]


def test_bad_rows_are_set_aside_one_by_one_and_the_stream_goes_on(tmp_path: Path) -> None:
    rows = [*GOOD[:30], *(row for row, _ in BAD), GOOD[3], *GOOD[30:]]
    path = write(tmp_path / "mixed.jsonl", rows)
    done = within("learn", path, "--home", tmp_path / "home", "--json")
    assert done.returncode == 0, done.stderr
    told = document(done)
    assert (told["rows"], told["accepted"], told["duplicates"], told["quarantined"]) == (60, 60, 1, len(BAD))
    apart = document(within("quarantine", "--home", tmp_path / "home", "--json"))["rows"]
    assert len(apart) == len(BAD)
    for offset, (_, reason) in enumerate(BAD, start=30):
        assert reason in next(row["reason"] for row in apart if row["row"] == offset)
    again = document(within("learn", path, "--home", tmp_path / "home", "--json"))
    assert (again["rows"], again["quarantined"], again["digest"]) == (0, 0, told["digest"])
    clean = within("learn", write(tmp_path / "clean.jsonl", GOOD), "--home", tmp_path / "other", "--json")
    assert document(clean)["digest"] == told["digest"]


def test_strict_stops_at_the_bad_row_and_keeps_what_came_before(tmp_path: Path) -> None:
    path = write(tmp_path / "mixed.jsonl", [*GOOD[:30], BAD[1][0], *GOOD[30:]])
    done = within("learn", path, "--home", tmp_path / "home", "--strict", "--json")
    told = document(done)
    assert done.returncode == 1
    assert done.stderr == f"error: {told['error']['message']}\n"
    assert told["error"]["kind"] == "ExampleError"
    assert "row 'r100'" in told["error"]["message"]
    assert (told["rows"], told["quarantined"]) == (30, 0)
    lenient = document(within("learn", path, "--home", tmp_path / "home", "--lenient", "--json"))
    assert (lenient["rows"], lenient["quarantined"]) == (30, 1)


def test_a_file_cut_in_the_middle_is_learned_up_to_the_cut_and_on_once_it_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b'"r40"')])
    done = within("learn", path, "--home", tmp_path / "home", "--json")
    assert done.returncode == 1
    assert "train.jsonl is cut at row 40, line 41" in done.stderr
    assert document(done)["accepted"] == 40
    path.write_bytes(whole)
    again = document(within("learn", path, "--home", tmp_path / "home", "--json"))
    assert again["accepted"] == 20
    assert document(within("status", "--home", tmp_path / "home", "--json"))["rows"]["learned"] == 60


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("none.jsonl", None, "there is no file or folder at"),
        ("none.parquet", b"x", "the format of"),
        ("empty.jsonl", b"", "empty.jsonl is empty: it holds no row"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(
    tmp_path: Path, name: str, content: bytes | None, fault: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = within("learn", tmp_path / name, "--home", tmp_path / "home", "--json")
    assert done.returncode == 1
    assert fault in done.stderr
    assert fault in document(done)["error"]["message"]
    assert "Traceback" not in done.stderr


def test_a_folder_without_read_permission_is_told(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    write(tmp_path / "locked" / "train.jsonl", GOOD)
    (tmp_path / "locked").chmod(0)
    bare = [sys.executable, "-c", POWERLESS] if os.geteuid() == 0 else []
    try:
        for stream in ("locked", "locked/train.jsonl"):
            command = [*bare, *TENUTO, "learn", str(tmp_path / stream), "--home", str(tmp_path / "home")]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=False
            )
            assert done.returncode == 1
            assert "permission denied; allow it with `chmod a+rX`" in done.stderr
    finally:
        (tmp_path / "locked").chmod(0o755)
    assert not (tmp_path / "home").exists()


def test_a_home_of_a_newer_release_is_left_alone(tmp_path: Path, learned: Path) -> None:
    home = shutil.copytree(learned, tmp_path / "home")
    database = Database(home / "state.db")
    with database.transaction() as connection:
        set_meta(connection, "format", 99)
    database.close()
    for command in (("status",), ("learn", write(tmp_path / "more.jsonl", GOOD))):
        done = within(*command, "--home", home, "--json")
        assert done.returncode == 1
        assert document(done)["error"]["kind"] == "HomeTooNew"
        assert "has format 99" in done.stderr
        assert "pip install -U tenuto" in done.stderr


def test_a_home_is_opened_by_one_writer(tmp_path: Path, learned: Path) -> None:
    home = shutil.copytree(learned, tmp_path / "home")
    with Home.open(home):
        done = within("learn", write(tmp_path / "more.jsonl", GOOD), "--home", home, "--json")
    assert done.returncode == 1
    assert document(done)["error"]["kind"] == "HomeLocked"
    assert f"is open in process {os.getpid()}" in done.stderr


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    rows = [example(number) for number in range(3000)]
    path = write(tmp_path / "train.jsonl", rows)
    given = (
        "learn",
        path,
        "--home",
        tmp_path / "home",
        "--set",
        "ingest_rows=200",
        "--set",
        "hidden=[8]",
        "--json",
    )

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    full = tenuto(*given, preexec_fn=fill)
    assert full.returncode == 1
    assert document(full)["error"]["kind"] == "OutOfSpace"
    assert "What was acknowledged is safe" in full.stderr
    kept = document(within("status", "--home", tmp_path / "home", "--json"))["rows"]
    assert 200 <= kept["learned"] + kept["queued"] < 3000
    told = document(within(*given))
    assert document(within("status", "--home", tmp_path / "home", "--json"))["rows"]["learned"] == 3000
    whole = document(within("learn", path, "--home", tmp_path / "other", "--set", "hidden=[8]", "--json"))
    assert told["digest"] == whole["digest"]


def test_json_holds_every_error(tmp_path: Path) -> None:
    done = within("learn", "x", "--home", tmp_path, "--hoem", "y", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["kind"] == "NoSuchOption"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("lern",), 2, "there is no verb 'lern'; did you mean 'learn'?"),
        (("status",), 2, "Missing option '--home'"),
        (("status", "--hme", "x"), 2, "--home"),
        (("learn", "{rows}", "--home", "{home}", "--set", "memory_sise=3"), 1, "did you mean 'memory_size'?"),
        (("learn", "{rows}", "--home", "{home}", "--set", "memory_size"), 2, "write --set seed=1"),
        (
            ("learn", "{rows}", "--home", "{home}", "--memory-size", "0"),
            1,
            "memory_size is 0; it must be at least 1",
        ),
        (("learn", "{rows}", "--home", "{home}", "--method", "derp"), 1, "did you mean 'derpp'?"),
        (
            ("learn", "{rows}", "--home", "{home}", "--option", "alfa=3"),
            1,
            "has no option 'alfa'; it has: ratio",
        ),
        (("learn", "{rows}", "--home", "{home}", "--model", "nlp"), 1, "model 'nlp' is unknown; give mlp"),
        (("forget", "--home", "{home}"), 2, "say what to forget: --id, --source or --principal"),
    ],
)
def test_what_is_misspelt_is_named(tmp_path: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    rows = write(tmp_path / "train.jsonl", GOOD)
    done = within(*(one.format(rows=rows, home=tmp_path / "home") for one in arguments))
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


def test_what_a_home_was_made_with_stays(tmp_path: Path, learned: Path) -> None:
    home = shutil.copytree(learned, tmp_path / "home")
    rows = write(tmp_path / "more.jsonl", GOOD)
    done = within("learn", rows, "--home", home, "--memory-size", 41)
    assert done.returncode == 1
    assert "was made with memory_size 40, not 41" in done.stderr
