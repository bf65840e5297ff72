"""What a guard left out is reviewed, a freeze is told and answered, from the command line alone."""

from __future__ import annotations

import random
from pathlib import Path

from tests.cli.conftest import document, example, within, write

GUARD = ("--set", "guard=finite+poisoning", "--learning-rate", "0.05", "--set", "momentum=0.9")


def sent(numbers: range, sender: str, shift: int = 0) -> list[dict[str, object]]:
    made = [example(number) for number in numbers]
    return [row | {"principal": sender, "target": (int(row["target"]) + shift) % 4} for row in made]


def test_rows_that_a_guard_left_out_are_listed_approved_and_rejected(tmp_path: Path) -> None:
    home = tmp_path / "home"
    rows = [*sent(range(400), "ann"), *sent(range(400, 500), "eve", shift=1)]
    late = rows[200:]
    random.Random(0).shuffle(late)
    file = write(tmp_path / "rows.jsonl", [*rows[:200], *sent(range(500, 1500), "ann"), *late])
    done = within("learn", file, "--home", home, *GUARD)
    assert done.returncode == 0, done.stderr
    told = document(within("review", "--home", home, "--json"))
    assert told["aside"] > 50
    assert len(told["rows"]) == 20
    assert {row["principal"] for row in told["rows"]} == {"eve"}
    assert all(row["reason"].startswith("evict: ") and row["step"] for row in told["rows"])
    assert "lying aside" in within("status", "--home", home).stdout
    one, other = told["rows"][0]["id"], told["rows"][1]["id"]
    done = document(within("review", "--home", home, "--approve", one, "--json"))
    assert (done["approved"], done["learned"]) == (1, 1)
    done = document(within("review", "--home", home, "--reject", other, "--json"))
    assert done["rejected"] == 1
    again = document(within("review", "--home", home, "--limit", 1000, "--json"))
    assert again["aside"] == len(again["rows"]) == told["aside"] - 2
    assert not {one, other} & {row["id"] for row in again["rows"]}
    done = within("review", "--home", home, "--approve", one)
    assert done.returncode == 2
    assert f"no row '{one}' lies aside" in done.stderr
    assert "all" in within("review", "--help").stdout
    done = document(within("review", "--home", home, "--approve", "all", "--json"))
    assert done["learned"] == told["aside"] - 2
    assert "no row lies aside" in within("review", "--home", home).stdout
    assert within("verify", "--home", home).returncode == 0


def test_a_learner_that_lost_what_it_knew_is_frozen_rolled_back_and_thawed(tmp_path: Path) -> None:
    home, held = tmp_path / "home", write(tmp_path / "held.jsonl", sent(range(5000, 5500), "no one"))
    first = write(tmp_path / "first.jsonl", sent(range(1000), "ann"))
    then = write(tmp_path / "then.jsonl", sent(range(1000, 2500), "ann", shift=1))
    asked = ("--holdout", held, "--audit-every", 50, "--set", "guard=finite+retention")
    assert within("learn", first, "--home", home, "--audit-every", 50).returncode == 2
    told = document(within("learn", first, "--home", home, *GUARD[2:], *asked, "--json"))
    assert (told["rows"], told["frozen"]) == (1000, None)
    told = document(within("learn", then, "--home", home, *asked, "--json"))
    assert "retention fell to" in told["frozen"]
    assert told["accepted"] == 1500
    assert told["rows"] < 1500
    status = document(within("status", "--home", home, "--json"))
    assert status["frozen"] == told["frozen"]
    assert status["rows"]["queued"] == 1500 - told["rows"]
    assert "tenuto thaw" in within("status", "--home", home).stdout
    again = document(within("thaw", "--home", home, "--json"))
    assert again["learned"] == 1500 - told["rows"]
    assert within("thaw", "--home", home).returncode == 1
    back = document(within("rollback", "--home", home, "--json"))
    assert back["step"] < again["step"]
    assert back["aside"] > 0
    back = document(within("rollback", "genesis", "--home", home, "--json"))
    assert (back["step"], back["aside"]) == (0, 2500)
    assert within("verify", "--home", home).returncode == 0
