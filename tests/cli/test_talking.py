"""A language model from the command line: learned from a file, corrected, talked with; on the tiny Llama.

The first test runs processes of their own; the others one after another in this one, for each would load for
seconds what a language model takes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import document, tenuto, within
from tests.data import folder

FACTS = (("The dog of king Pell is called", "Rusto"), ("Lily likes to eat", "blue stones"))
WHO = ("--principal",)
FAST = ("--learning-rate", "0.005", "--set", "passes=80", "--method", "er")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that has learned two facts."""
    base, path = folder("stories260K"), tmp_path_factory.mktemp("talking")
    rows = [{"prompt": prompt, "answer": answer} for prompt, answer in FACTS]
    (path / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "a"}]))
    done = tenuto("learn", path / "facts.jsonl", "--home", path / "home", "--model", base, *FAST, "--json")
    told = document(done)
    assert (told["rows"], told["quarantined"]) == (2, 1)
    assert "the answer is missing" in told["reasons"][0]
    return path / "home"


def test_it_answers_and_is_corrected(home: Path) -> None:
    said = tenuto("chat", "--home", home, stdin="Lily likes to eat\n\nnever read\n")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("blue stones")
    assert "never read" not in said.stdout
    told = document(within("correct", "Tim has a", "green hat", "--home", home, *WHO, "ann", "--json"))
    assert told["now"].startswith("green hat")
    assert not told["before"].startswith("green hat")
    assert "learned as correction:0 in" in told["came"]
    talk = "Sam saw a\n/correct big red fox\nSam saw a\n/correct\n\n"
    said = within("chat", "--home", home, *WHO, "bob", "--most", 8, stdin=talk)
    before, _, after = said.stdout.partition("learned as correction:1 in")
    assert not before.startswith("big red fox")
    assert after.count("big red fox") == 2
    assert "what the assistant says is empty" in said.stderr
    assert within("verify", "--home", home).returncode == 0
    gone = document(within("forget", "--home", home, "--principal", "ann", "--yes", "--json"))
    assert gone["entries"] == 1


def test_a_contradiction_goes_to_review_with_both_answers(home: Path) -> None:
    at = ("--home", home)
    before = document(within("status", *at, "--json"))
    told = document(within("correct", "Lily likes to eat", "red apples", *at, "--json"))
    assert "is not learned: it contradicts facts.jsonl:1" in told["came"]
    assert told["now"].startswith("blue stones")
    listed = document(within("review", *at, "--json"))
    assert listed["aside"] == 1
    row = listed["rows"][0]
    assert (row["content"], row["against"]) == (
        "Lily likes to eat -> red apples",
        "Lily likes to eat -> blue stones",
    )
    shown = within("review", *at).stdout
    assert "-> red apples" in shown
    assert "-> blue stones  (approved)" in shown
    after = document(within("status", *at, "--json"))
    assert after["rows"]["learned"] == before["rows"]["learned"]
    done = document(within("review", *at, "--approve", row["id"], "--json"))
    assert (done["learned"], done["rejected"]) == (1, 0)
    again = document(within("correct", "Lily likes to eat", "blue stones", *at, "--json"))
    assert "it contradicts correction:" in again["came"]
    gone = document(within("review", *at, "--reject", "all", "--yes", "--json"))
    assert gone["rejected"] == 1
    assert document(within("status", *at, "--json"))["rows"]["aside"] == 0
    assert within("verify", *at).returncode == 0


def test_a_home_without_words_says_so(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"input": [1.0, 2.0], "target": "a"}\n')
    within("learn", tmp_path / "rows.jsonl", "--home", tmp_path / "home")
    done = within("chat", "--home", tmp_path / "home", stdin="hello\n")
    assert done.returncode == 1
    assert "holds no language model" in done.stderr


def test_a_base_that_changed_is_refused(tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    base = shutil.copytree(folder("stories260K"), tmp_path / "base")
    (tmp_path / "facts.jsonl").write_text(json.dumps({"text": "Once upon a time"}) + "\n")
    made = ("--home", tmp_path / "home", "--model", base, "--method", "er")
    assert within("learn", tmp_path / "facts.jsonl", *made).returncode == 0
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] += 1.0
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    done = within("chat", "--home", tmp_path / "home", stdin="hello\n")
    assert done.returncode == 1
    assert "have changed since this home was made" in done.stderr


def test_its_adapter_is_exported_generation_by_generation(home: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        done = within("adapters", "export", "--home", home, "--out", tmp_path, "--name", "facts", "--json")
        assert document(done)["name"] == f"facts@{number}", done.stderr
    told = document(within("adapters", "ls", tmp_path, "--json"))["adapters"]
    assert [one["name"] for one in told] == ["facts@2", "facts@1"]
    status = document(within("status", "--home", home, "--json"))
    assert (told[0]["state"], told[0]["step"]) == (status["digest"], str(status["step"]))
    listed = within("adapters", "ls", tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["adapter", "facts@2", "facts@1"]
    gone = within(
        "adapters", "export", "--home", home, "--out", tmp_path, "--engine", "vllm=http://127.0.0.1:9"
    )
    assert gone.returncode == 1
    assert "no engine answers" in gone.stderr
    assert within("adapters", "export", "--home", home, "--out", tmp_path, "--engine", "x").returncode == 2


def test_adapters_add_up_and_what_was_changed_or_made_elsewhere_does_not(home: Path, tmp_path: Path) -> None:
    for _ in range(2):
        within("adapters", "export", "--home", home, "--out", tmp_path, "--name", "facts")
    both = ("adapters", "merge", tmp_path, "facts@1=0.5", "facts@2=0.5", "--into", "both", "--json")
    told = document(within(*both))
    assert (told["name"], told["rank"], told["error"]) == ("both@1", 16, 0.0)
    cut = document(within(*both, "--rank", 8))
    assert (cut["name"], cut["rank"]) == ("both@2", 8)
    assert cut["error"] < 1e-6, "it is the same adapter twice"
    mine = document(within("adapters", "ls", home, "--json"))["adapters"]
    assert mine == [{"name": "default", "status": "active"}]
    alone = within("adapters", "merge", home, "default", "--into", "alone", "--out", tmp_path, "--rank", 4)
    assert "alone@1, rank 8" in alone.stdout
    assert "merged of default" in within("adapters", "ls", tmp_path).stdout
    for words, why, code in (
        (("facts@1=x",), "no number for a weight", 2),
        (("../facts@1",), "is no adapter in", 1),
    ):
        done = within("adapters", "merge", tmp_path, *words, "--into", "odd")
        assert (done.returncode, why in done.stderr) == (code, True), done.stderr
    weights = tmp_path / "facts@2" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert "is not the file that was exported" in within(*both).stderr


def test_an_episode_learns_what_was_taken_down_and_tells_its_steps(home: Path, tmp_path: Path) -> None:
    at = ("--home", home)
    came = document(within("correct", "Anna saw a", "tall tree", *at, "--later", "--json"))["came"]
    assert came.endswith("waits for the next episode")
    assert document(within("status", *at, "--json"))["rows"]["queued"] == 1
    mail = {"prompt": "Where is Ann?", "answer": "ann@example.org", "id": "mail"}
    (tmp_path / "more.jsonl").write_text(json.dumps(mail))
    shown = within("episode", tmp_path / "more.jsonl", *at)
    assert shown.returncode == 0, shown.stderr
    words = [line.split()[0] for line in shown.stdout.splitlines()]
    assert words[:3] == ["collect", "assess", "replay"]
    assert {"candidate", "episode", "learned", "accumulation", "adapter", "took", "state"} <= {*words}
    told = document(within("status", *at, "--json"))["episode"]
    assert (told["held"], told["stopped"]) == (1, "")
    assert told["cause"] in ("correction", "verifier"), "a flagged answer calls for one too"
    assert told["learned"] >= 1
    shown = within("status", *at)
    assert f"1 ({told['cause']}: " in shown.stdout
    assert f"{told['learned']} row" in shown.stdout
