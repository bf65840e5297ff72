"""What learn, predict, forget and verify tell, and that they agree with the library."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from tenuto import Session, open_stream
from tenuto.store.database import Database
from tests.cli.conftest import ENVIRONMENT, TENUTO, document, example, tenuto, within, write


@pytest.fixture
def home(learned: Path, tmp_path: Path) -> Path:
    """A copy of the learned home."""
    return Path(shutil.copytree(learned, tmp_path / "home"))


def test_learn_tells_what_it_did(learned: Path, home: Path, tmp_path: Path) -> None:
    held = write(tmp_path / "held.jsonl", [example(number) for number in range(900, 1000)])
    more = write(tmp_path / "more.jsonl", [example(number) for number in (*range(5), *range(400, 495))])
    given = ("--holdout", held, "--learning-rate", 0.1, "--no-flush", "--json")
    told = document(within("learn", more, "--home", home, *given))
    assert (told["accepted"], told["duplicates"], told["rows"], told["steps"]) == (95, 5, 90, 10)
    assert 0.5 < told["retention"] <= 1
    assert 0.5 < told["holdout"] <= 1
    assert told["rows_per_second"] == pytest.approx(told["rows"] / told["seconds"])
    assert told["exact"] is True
    with Session(home, config={"batch_size": 10}) as session:
        assert session.learner.config.learning_rate == 0.1
        assert session.learner.digest() == told["digest"]
        assert session.fold.cursor.pending == [
            *range(session.fold.cursor.seq - 4, session.fold.cursor.seq + 1)
        ]
    back = within("learn", more, "--home", home, "--from", "genesis")
    assert back.returncode == 0, back.stderr
    assert "nothing new" in back.stdout
    status = document(within("status", "--home", home, "--json"))
    assert status["rows"]["learned"] == 0
    assert status["rows"]["aside"] == 395


def test_a_model_of_ones_own_is_found_in_the_current_directory(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\n\ndef build():\n    return nn.Linear(4, 4)\n")
    rows = write(tmp_path / "train.jsonl", [example(number) for number in range(40)])
    done = tenuto("learn", rows, "--home", tmp_path / "home", "--model", "mine:build", cwd=tmp_path)
    assert "learned    40 rows in 4 steps" in done.stdout, done.stderr
    asked = tenuto("predict", rows, "--home", tmp_path / "home", cwd=tmp_path)
    assert len(asked.stdout.splitlines()) == 40


def test_predict_answers_every_row_in_its_place(learned: Path, tmp_path: Path) -> None:
    rows = [{"input": example(number)["input"], "id": f"q{number}"} for number in range(500, 520)]
    bad = [{"input": [1.0]}, "{broken"]
    path = write(tmp_path / "ask.jsonl", [*rows[:7], *bad, *rows[7:]])
    done = within("predict", path, "--home", learned)
    assert done.returncode == 1
    assert done.stderr == "error: 2 rows could not be answered; each says why in its place\n"
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[7] == {
        "id": "ask.jsonl:7",
        "error": "input has shape (1,); this model learned rows of shape (4,)",
    }
    assert "line 9 (row 8)" in answers[8]["error"]
    good = answers[:7] + answers[9:]
    assert [answer["id"] for answer in good] == [row["id"] for row in rows]
    with Session(learned) as session:
        found = session.predict([row["input"] for row in rows])
    assert [answer["label"] for answer in good] == found.labels
    for answer in good:
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert answer["probabilities"][str(answer["label"])] == answer["probability"]
    piped = document(tenuto("predict", "-", "--home", learned, "--json", stdin=json.dumps(rows[0]) + "\n"))
    assert piped == {
        "predictions": [
            {
                **good[0],
                "probability": pytest.approx(good[0]["probability"], abs=1e-6),
                "probabilities": pytest.approx(good[0]["probabilities"], abs=1e-6),
            }
        ],
        "errors": 0,
    }


def test_recall_finds_the_entries_a_session_finds(learned: Path, tmp_path: Path) -> None:
    rows = [{"input": example(number)["input"], "id": f"q{number}"} for number in range(500, 505)]
    path = write(tmp_path / "ask.jsonl", [*rows, {"input": [1.0]}])
    done = within("recall", path, "--home", learned, "--count", 3, "--by", "inputs", "--json")
    assert done.returncode == 1
    told = document(done)
    assert (told["errors"], told["recalled"][5]["id"]) == (1, "ask.jsonl:5")
    with Session(learned) as session:
        found = session.recall([row["input"] for row in rows], 3, by="inputs")
    for row, answer, episodes in zip(rows, told["recalled"], found, strict=False):
        assert answer["id"] == row["id"]
        assert [one["id"] for one in answer["episodes"]] == [episode.id for episode in episodes]
        similarities = [episode.similarity for episode in episodes]
        assert [one["similarity"] for one in answer["episodes"]] == pytest.approx(similarities, abs=1e-6)


def test_forget_is_exact_and_verified(home: Path, tmp_path: Path) -> None:
    told = document(within("forget", "--home", home, "--id", "r123", "--json"))
    assert (told["entries"], told["quarantined"], told["rebuilt_from"]) == (1, 0, 0)
    rows = write(tmp_path / "train.jsonl", [example(number) for number in range(300) if number != 123])
    config = {"memory_size": 40, "learning_rate": 0.05}
    with Session(tmp_path / "never", config=config, method="derpp") as session:
        session.learn(open_stream(rows))
        assert session.learner.digest() == told["digest"]
    again = within("forget", "--home", home, "--id", "r123")
    assert again.returncode == 1
    assert "there is nothing of 'r123' to forget" in again.stderr
    verified = document(within("verify", "--home", home, "--json"))
    assert verified["holds"] is True
    assert (verified["log"]["first"], verified["log"]["last"]) == (0, told["step"])


def test_verify_finds_a_digest_that_differs_and_a_file_that_changed(home: Path) -> None:
    database = Database(home / "state.db")
    with database.transaction() as connection:
        connection.execute("UPDATE steps SET digest = ? WHERE k = 30", ("0" * 64,))
    database.close()
    differs = within("verify", "--home", home)
    assert differs.returncode == 3
    assert "DOES NOT HOLD" in differs.stdout
    assert "first at step 30" in differs.stdout
    blob = max((home / "blobs").glob("*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    changed = within("verify", "--home", home, "--json")
    assert changed.returncode == 3
    assert document(changed)["findings"]


def test_numbers_are_learned_and_asked_by_their_error(tmp_path: Path) -> None:
    rows = [{**example(number), "target": sum(example(number)["input"])} for number in range(330)]
    train, held = write(tmp_path / "train.jsonl", rows[:300]), write(tmp_path / "held.jsonl", rows[300:])
    given = ("--task", "regression", "--learning-rate", 0.02, "--holdout", held)
    done = within("learn", train, "--home", tmp_path / "home", *given)
    assert done.returncode == 0, done.stderr
    assert "retention" not in done.stdout
    told = document(within("learn", train, "--home", tmp_path / "home", "--holdout", held, "--json"))
    assert told["progressive_accuracy"] is told["retention"] is None
    assert f"{told['holdout_error']:.4g} mean squared error" in done.stdout
    answers = within("predict", held, "--home", tmp_path / "home").stdout.splitlines()
    errors = [
        (json.loads(said)["label"] - row["target"]) ** 2
        for said, row in zip(answers, rows[300:], strict=True)
    ]
    assert sum(errors) / len(errors) == pytest.approx(told["holdout_error"], rel=1e-4)
    assert told["holdout_error"] < 2


def test_on_a_terminal_it_shows_how_it_goes(tmp_path: Path) -> None:
    rows = write(tmp_path / "train.jsonl", [*map(example, range(2000)), "{broken"])
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    command = [*TENUTO, "learn", str(rows), "--home", str(tmp_path / "home"), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, env={**ENVIRONMENT, "TERM": "xterm"}
    ) as child:
        os.close(theirs)
        shown = b""
        with suppress(OSError):
            while part := os.read(terminal, 1 << 16):
                shown += part
        os.close(terminal)
        assert child.stdout is not None
        assert json.loads(child.stdout.read())["rows"] == 2000
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
    assert "1,024 / 2,001 rows" in text
    for part in ("rows/s", "loss", "% right before learning", "% of all learned kept"):
        assert part in text
