"""tenuto advise: a choice with its reasons, and a trial on the user's own rows."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import document, example, within, write


def test_a_choice_without_a_stream() -> None:
    said = within("advise", "--drifting")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("hybrid\n")
    assert "tenuto learn STREAM --home DIR --method hybrid" in said.stdout


def test_a_trial_needs_a_stream() -> None:
    said = within("advise", "--trial")
    assert said.returncode == 2
    assert "needs a STREAM" in said.stderr


def test_a_trial_measures_the_choice_its_rivals_and_plain_learning(tmp_path: Path) -> None:
    stream = write(tmp_path / "rows.jsonl", [example(n) for n in range(400)])
    told = document(within("advise", stream, "--trial", "--learning-rate", "0.1", "--json"))
    assert {score["method"] for score in told["trial"]} >= {"derpp", "er", "naive"}
    assert told["method"] == told["trial"][0]["method"]
    assert told["trial"][0]["accuracy"] > 0.5


def test_a_stream_without_targets(tmp_path: Path) -> None:
    stream = write(tmp_path / "rows.jsonl", ['{"input": [1.0, 2.0]}'])
    said = within("advise", stream)
    assert said.returncode == 1
    assert "no row with a target that could be learned" in said.stderr
