"""Labels that come late, alone, twice or never."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tenuto import OnlineExample, OnlineLearnerConfig, Session, open_stream
from tenuto.store.records import Receipt

CONFIG = OnlineLearnerConfig(hidden=(8,), memory_size=20, batch_size=5, seed=3)


def example(n: int, **changes: object) -> OnlineExample:
    input = np.random.default_rng(n).normal(size=4).astype(np.float32)
    row = {"input": input, "target": int(input[0] > 0), "id": f"r{n}", "domain": "day", "weight": 2.0}
    return OnlineExample(**{**row, **changes})  # type: ignore[arg-type]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Session(tmp_path / "home", config=CONFIG, method="er") as made:
        yield made


def apart(session: Session) -> list[str]:
    """The ids of rows that are set apart; the total agrees."""
    found = [row.id for row in session.home.journal.quarantined()]
    assert session.home.journal.counts()["quarantined"] == len(found)
    return found


def tally(receipt: Receipt) -> tuple[int, int, int]:
    return receipt.accepted, receipt.duplicates, receipt.quarantined


def never_late(home: Path, rows: list[OnlineExample]) -> str:
    with Session(home, config=CONFIG, method="er") as other:
        other.ingest(rows)
        other.flush()
        return other.learner.digest()


@pytest.mark.parametrize("alone", [False, True], ids=["with its row", "alone"])
def test_a_late_label_is_learned_as_if_its_row_came_then(
    session: Session, tmp_path: Path, alone: bool
) -> None:
    late = example(3)
    receipt = session.ingest([*map(example, range(3)), example(3, target=None), *map(example, range(4, 7))])
    assert tally(receipt) == (6, 0, 1)
    (row,) = session.home.journal.quarantined()
    assert "target is missing; send it, or the row again, under the same id" in row.reason
    sent = OnlineExample(input=None, target=late.target, id="r3") if alone else late
    assert tally(session.ingest([sent])) == (1, 0, 0)
    assert apart(session) == []
    session.flush()
    in_time = [example(n) for n in (0, 1, 2, 4, 5, 6, 3)]
    assert session.learner.digest() == never_late(tmp_path / "other", in_time)
    assert tally(session.ingest([sent])) == (0, 1, 0)


def test_a_row_and_its_label_may_come_in_one_call(session: Session) -> None:
    label = OnlineExample(input=None, target=1, id="r0")
    assert tally(session.ingest([example(0, target=None), label])) == (1, 0, 1)
    assert apart(session) == []
    session.flush()
    assert session.learner.examples == 1


def test_a_label_that_never_comes_leaves_its_row_waiting(session: Session, tmp_path: Path) -> None:
    session.ingest([example(0), example(1, target=None)])
    session.flush()
    assert (apart(session), session.learner.examples) == (["r1"], 1)
    session.close()
    with Session(tmp_path / "home") as again:
        assert apart(again) == ["r1"]
        assert again.learner.examples == 1


def test_a_row_that_comes_again_without_its_label_is_a_duplicate(session: Session) -> None:
    session.ingest([example(0)])
    assert tally(session.ingest([example(0, target=None)])) == (0, 1, 0)
    assert tally(session.ingest([example(0, target=None, weight=3.0)])) == (0, 0, 1)


def test_another_label_under_the_same_id_is_set_apart(session: Session) -> None:
    session.ingest([example(0)])
    session.flush()
    before = session.learner.digest()
    other = 1 - example(0).target
    assert tally(session.ingest([example(0, target=other)])) == (0, 0, 1)
    label = OnlineExample(input=None, target=other, id="r0")
    assert tally(session.ingest([label])) == (0, 0, 1)
    assert len(apart(session)) == 1, "the same content is set apart once"
    session.flush()
    assert session.learner.digest() == before
    assert [row.reason for row in session.home.journal.quarantined()] == [
        "id 'r0' was already taken by other content. Send it under a new id, or forget the old one"
    ]


def test_a_label_for_a_row_that_never_came_is_told(session: Session) -> None:
    assert tally(session.ingest([OnlineExample(input=None, target=1, id="r9")])) == (0, 0, 1)
    (row,) = session.home.journal.quarantined()
    assert "a label came for row 'r9', and no row waits for one; send the row with it" in row.reason
    assert tally(session.ingest([example(9)])) == (1, 0, 0)
    assert apart(session) == []


def test_a_row_stays_its_senders_whoever_labels_it(session: Session) -> None:
    session.ingest([example(0, principal="bob"), example(1, target=None, principal="ada")])
    session.ingest([OnlineExample(input=None, target=1, id="r1", principal="labeller")])
    session.flush()
    assert session.forget(principal="ada").entries == 1


def test_a_row_that_waits_is_forgotten_with_its_sender_and_its_parents(
    session: Session, tmp_path: Path
) -> None:
    secret = np.full(4, 0.12345, np.float32)
    holed = np.array([0.54321, np.nan, 0.54321, 0.54321], np.float32)
    session.ingest(
        [
            *(example(n, principal="bob") for n in range(4)),
            example(4, principal="ada"),
            example(5, input=secret, target=None, principal="ada"),
            example(6, input=holed, derived_from=("r1",)),
        ]
    )
    session.flush()
    assert session.forget(principal="ada").quarantined == 1
    assert session.forget(id="r1").quarantined == 1
    assert session.ingest([example(7, input=holed, derived_from=("r1",))]).forgotten == 1
    assert apart(session) == []
    session.close()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert secret.tobytes() not in content
            assert holed[2:].tobytes() not in content


def test_a_label_leaves_no_copy_of_the_row_that_waited(session: Session, tmp_path: Path) -> None:
    secret = np.full(4, 0.12345, np.float32)
    session.ingest([example(0), example(1, input=secret, target=None)])
    session.ingest([OnlineExample(input=None, target=1, id="r1")])
    session.flush()
    session.forget(id="r1")
    session.close()
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and secret.tobytes() in f.read_bytes()]


def test_what_no_text_can_hold_is_set_apart_and_its_neighbours_are_kept(session: Session) -> None:
    rows = [example(0), example(1, id="\ud800"), example(2, id=7), example(3, principal="\udfff", id="p")]
    assert tally(session.ingest(rows)) == (1, 0, 3)
    assert apart(session) == ["session:1", "session:2", "p"]


@pytest.mark.parametrize("today", [None, "absent"])
@pytest.mark.parametrize("tomorrow", ["with their rows", "alone"])
def test_labels_come_in_a_second_file(session: Session, tmp_path: Path, today: object, tomorrow: str) -> None:
    lines = [{"id": f"r{n}", "input": [n / 10, 1.0], "target": n % 2, "principal": "ada"} for n in range(30)]
    late = [line for n, line in enumerate(lines) if n % 3 == 0]
    first = [{**line, "target": None} if line in late else line for line in lines]
    if today == "absent":
        first = [{name: value for name, value in line.items() if value is not None} for line in first]
    if tomorrow == "alone":
        then: list[dict[str, object]] = [{"id": line["id"], "target": line["target"]} for line in late]
    else:
        then = list(lines)

    def learn(name: str, rows: list[dict[str, object]]) -> None:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        session.learn(open_stream(path))

    learn("today.jsonl", first)
    assert (apart(session), session.learner.examples) == ([line["id"] for line in late], 20)
    learn("tomorrow.jsonl", [*then, {"id": "r99", "target": 1}])
    assert (apart(session), session.learner.examples) == (["r99"], 30)
    assert session.home.journal.counts()["duplicates"] == len(then) - len(late)
    assert session.home.journal.quarantined()[0].body.startswith(b'{"id": "r99"')
    assert session.forget(principal="ada").entries == 30
