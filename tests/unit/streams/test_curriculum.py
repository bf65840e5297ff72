"""A curriculum over real files: an order of its own, resumed exactly, and refused where it would change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenuto import Session, open_stream
from tenuto.errors import MalformedRow, StreamError
from tenuto.streams import Pacing, paced
from tests.levels import levelled, missing

ROWS = 90
PACING = Pacing(window=16, patience=24, start=0.1)
CONFIG = {"hidden": [8], "memory_size": 20, "batch_size": 4}


def written(path: Path, rows: int = ROWS, seed: int = 0) -> Path:
    """Rows with levels as JSON lines; some have none, two cannot be read."""
    examples = levelled(rows, seed=seed)
    without = missing(examples, rows // 10, seed=seed)
    lines = [
        json.dumps(
            {"input": row.input, "target": row.target} | ({} if i in without else {"level": row.level})
        )
        for i, row in enumerate(examples)
    ]
    lines[7], lines[40] = "{broken", '{"input": [1]}'
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("levels") / "rows.jsonl")


@settings(max_examples=40, deadline=None)
@given(
    start=st.integers(0, ROWS),
    size=st.integers(1, ROWS + 5),
    window=st.integers(1, ROWS + 9),
    patience=st.integers(0, ROWS + 9),
)
def test_a_read_goes_on_at_any_place_of_the_order(file, read, sign, start, size, window, patience):
    pacing = Pacing(window=window, patience=patience)
    plain = [sign(row) for row in read(open_stream(file))]
    whole = [sign(row) for row in read(paced(open_stream(file), pacing))]
    stream = paced(open_stream(file), pacing)
    assert [sign(row) for row in read(stream, start, size)] == whole[start:]
    for chunk in stream.chunks(start, size):
        assert [sign(row) for row in chunk.rows] == [plain[own] for own in chunk.offsets]


def test_malformed_rows_keep_their_text_and_their_offset(file):
    chunks = list(paced(open_stream(file), PACING).chunks(0, 7))
    text = [line for chunk in chunks for line in chunk.raw or ()]
    own = [
        own
        for chunk in chunks
        for own, row in zip(chunk.offsets, chunk.rows, strict=True)
        if isinstance(row, MalformedRow)
    ]
    assert sorted(zip(own, text, strict=True)) == [(7, b"{broken"), (40, b'{"input": [1]}')]


def test_easy_rows_come_first(file, read):
    def levels(stream) -> list[float | None]:
        return [row.level for row in read(stream)[: ROWS // 3] if not isinstance(row, MalformedRow)]

    assert 3.0 in levels(open_stream(file))
    assert 3.0 not in levels(paced(open_stream(file)))
    line = levels(paced(open_stream(file), Pacing(start=0.0, power=1.0)))
    assert line.index(2.0) > 3 * levels(open_stream(file)).index(2.0)


def test_a_measured_difficulty_takes_the_place_of_the_level(file, read):
    stream = paced(open_stream(file), Pacing(start=0.0), lambda row: -abs(row.input[0]))
    found = [abs(row.input[0]) for row in read(stream) if not isinstance(row, MalformedRow)]
    assert np.mean(found[:20]) > np.mean(found[-20:]) + 0.3


def test_a_folder_is_paced_file_by_file(tmp_path, read, sign):
    for name in ("a.jsonl", "b.jsonl"):
        written(tmp_path / name, seed=ord(name[0]))
    stream = paced(open_stream(tmp_path), PACING)
    assert [part.name for part in stream.parts] == ["a.jsonl", "b.jsonl"]
    assert stream.rows == 2 * ROWS
    alone = [sign(row) for part in stream.parts for row in read(part)]
    assert [sign(row) for row in read(stream)] == alone


def test_a_home_killed_between_any_two_chunks_holds_the_same_journal(file, tmp_path):
    def journal(home: Path, *sizes: int) -> list[tuple[str, bytes | None, int | None]]:
        for rows in (*sizes, ROWS):
            with Session(home, config=CONFIG, settings={"ingest_rows": rows}) as session:
                try:
                    session.learn(
                        paced(open_stream(file), PACING), on_progress=_kill(rows < ROWS), flush=False
                    )
                except KeyboardInterrupt:
                    continue
                assert session.home.journal.counts()["quarantined"] == 2
                entries = session.home.journal.examples()
                return [(e.id, e.body, e.source_offset) for e in entries]
        return []

    whole = journal(tmp_path / "whole")
    assert len(whole) == ROWS - 2
    assert sorted(own for _, _, own in whole) == [i for i in range(ROWS) if i not in (7, 40)]
    assert [own for _, _, own in whole] != sorted(own for _, _, own in whole)
    assert all(id == f"rows.jsonl:{own}" for id, _, own in whole)
    assert journal(tmp_path / "cut", 1, 13, 5, 30) == whole


def _kill(armed: bool):
    def on_progress(progress: object) -> None:
        if armed:
            raise KeyboardInterrupt

    return on_progress


def test_a_strict_home_goes_on_at_the_bad_row(tmp_path):
    path = written(tmp_path / "rows.jsonl")
    for _ in range(2):
        with (
            Session(tmp_path / "home", config=CONFIG, settings={"strict": True}) as session,
            pytest.raises(MalformedRow),
        ):
            session.learn(paced(open_stream(path), PACING))
    order = paced(open_stream(path), PACING).order.tolist()
    with Session(tmp_path / "home", settings={"strict": True}) as session:
        place = session.home.journal.source("rows.jsonl").offset
        assert place == min(order.index(7), order.index(40))
        assert [e.source_offset for e in session.home.journal.examples()] == order[:place]


def test_another_order_of_a_source_in_progress_is_refused(file, tmp_path):
    def learn(stream) -> None:
        with Session(tmp_path / "home", config=CONFIG) as session:
            session.learn(stream)

    learn(paced(open_stream(file), PACING))
    learn(paced(open_stream(file), PACING))
    with pytest.raises(StreamError, match="begun in another order"):
        learn(paced(open_stream(file), Pacing(window=3)))
    with pytest.raises(StreamError, match="or the order of its rows; give the new one a name"):
        learn(open_stream(file))
    learn(open_stream(file, name="plain"))
    with pytest.raises(StreamError, match="begun in another order"):
        learn(paced(open_stream(file, name="plain"), PACING))


def test_a_file_that_grew_or_changed_is_refused(tmp_path):
    path = written(tmp_path / "rows.jsonl")
    taken = paced(open_stream(path), PACING).fingerprint()
    content = path.read_text()
    with path.open("a") as file:
        file.write(json.dumps({"input": [0.0] * 4, "target": 0, "level": 1}) + "\n")
    with pytest.raises(StreamError, match="before the file grew"):
        paced(open_stream(path), PACING).continues(taken)
    path.write_text(content.replace("0.", "1.", 1))
    assert not paced(open_stream(path), PACING).continues(taken)
    path.write_text(content)
    assert paced(open_stream(path), PACING).continues(taken)


def test_what_has_no_order_is_refused(tmp_path):
    path = tmp_path / "plain.jsonl"
    path.write_text('{"input": [0.0], "target": 1}\n')
    with pytest.raises(StreamError, match=r"no row of plain\.jsonl has a level"):
        paced(open_stream(path)).chunks()
    with pytest.raises(StreamError, match="stdin is a pipe"):
        paced(open_stream("-")).fingerprint()
    with pytest.raises(StreamError, match=r"row 0 of plain\.jsonl has difficulty nan"):
        paced(open_stream(path), difficulty=lambda row: float("nan")).chunks()


def test_nothing_of_a_cut_file_is_read(tmp_path):
    path = written(tmp_path / "rows.jsonl")
    path.write_text(path.read_text() + '{"input": [1')
    with Session(tmp_path / "home", config=CONFIG) as session:
        with pytest.raises(StreamError, match="is cut at row 90"):
            session.learn(paced(open_stream(path), PACING))
        assert session.home.journal.last_seq == 0


def test_places_are_checked(file):
    stream = paced(open_stream(file), PACING)
    assert list(stream.chunks(ROWS)) == []
    with pytest.raises(StreamError, match=f"has {ROWS} rows and cannot be read from row {ROWS + 1} on"):
        stream.chunks(ROWS + 1)
    with pytest.raises(Exception, match="start is at least 0"):
        stream.chunks(-1)
