from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenuto.errors import ConfigError, MalformedRow, StreamError
from tenuto.streams import Chunk, open_stream

ROOT = Path(__file__).parents[3]
GOOD = b'{"input": [0.5, 1.0], "target": "cat"}'


def write(folder: Path, content: bytes, name: str = "train.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_every_member_of_a_row_is_read(tmp_path, read):
    line = {
        "input": [[1, 2], [3, 4]],
        "target": 7,
        "id": "a7",
        "domain": "day",
        "level": 0.25,
        "weight": 2,
        "source": "sensor",
        "principal": "ada",
        "derived_from": ["a1", "a2"],
        "note": {"passed": "over"},
    }
    (row,) = read(open_stream(write(tmp_path, json.dumps(line).encode())))
    assert row.input.dtype == np.int64
    assert row.input.tolist() == [[1, 2], [3, 4]]
    assert (row.target, row.id, row.domain, row.level, row.weight) == (7, "a7", "day", 0.25, 2.0)
    assert (row.source, row.principal, row.derived_from) == ("sensor", "ada", ("a1", "a2"))


@pytest.mark.parametrize(
    ("target", "found"),
    [("7", 7), ("true", 1), ("2.5", 2.5), ('"cat"', "cat"), ("[1, 2]", [1.0, 2.0]), ("null", None)],
)
def test_targets_keep_their_kind(tmp_path, read, target, found):
    (row,) = read(open_stream(write(tmp_path, b'{"input": [1.5], "target": %s}' % target.encode())))
    assert row.target == found
    assert type(row.target) is type(found)


def test_numbers_name_rows_and_domains_too(tmp_path, read):
    (row,) = read(open_stream(write(tmp_path, b'{"input": 3, "target": 1, "id": 17, "domain": 2}')))
    assert (row.id, row.domain, row.input.shape, row.source) == ("17", "2", (1,), "train.jsonl")


def test_other_fields_are_named_by_options(tmp_path, read):
    path = write(tmp_path, b'{"pixels": [1, 2], "digit": 3, "key": "k", "camera": "left"}')
    (row,) = read(
        open_stream(path, input="pixels", target="digit", id_field="key", domain_field="camera", name="cam")
    )
    assert (row.input.tolist(), row.target, row.id, row.domain, row.source) == ([1, 2], 3, "k", "left", "cam")
    (fault,) = read(open_stream(path))
    assert "missing required field `input`" in str(fault)
    assert "--input" in str(fault)
    with pytest.raises(ConfigError, match="two parts of a row have one field"):
        read(open_stream(path, input="digit", target="digit"))


def test_targets_may_be_absent_where_rows_are_to_be_predicted(tmp_path, read):
    path = write(tmp_path, b'{"input": [1.0]}\n')
    (fault,) = read(open_stream(path))
    assert "missing required field `target`; write it, or name another field with --target" in str(fault)
    (row,) = read(open_stream(path, labelled=False))
    assert row.target is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"input": [NaN], "target": 1}', ["JSON has no NaN"]),
        (b'{"input": [1e999], "target": 1}', ["out of range", "$.input[0]"]),
        (b'{"input": [99999999999999999999, 1], "target": 1}', ["input", "64 bits"]),
        (b'{"input": [[1], [1, 2]], "target": 1}', ["ragged", "equal lengths"]),
        (b'{"input": ["a"], "target": 1}', ["input", "turned into numbers"]),
        (b'{"input": [null], "target": 1}', ["input", "turned into numbers"]),
        (b'{"input": [], "target": 1}', ["empty", "at least one number"]),
        (b'{"input": "text", "target": 1}', ["'text'", "turned into numbers"]),
        (b'{"input": {"a": 1}, "target": 1}', ["input", "turned into numbers"]),
        (b'{"input": [1], "target": {}}', ["got `object`", "$.target", "correct the row"]),
        (b'{"input": [1], "target": [1, "a"]}', ["got `str`", "$.target[1]"]),
        (b'{"input": [1], "target": 1, "weight": "2"}', ["$.weight"]),
        (b'{"input": [1], "target": 1, "id": 1.5}', ["$.id"]),
        (b'{"input": [1], "target": 1, "derived_from": [1]}', ["$.derived_from[0]"]),
        (b'{"input": [1], "target": "\xff"}', ["utf-8"]),
        (b'{"input": [1], "target": "\\ud800"}', ["correct the row"]),
        (b'{"input": ' + b"[" * 100_000, ["recursion"]),
        (b"[1, 2]", ["Expected `object`"]),
        (b"input target", ["malformed"]),
    ],
)
def test_a_row_that_cannot_be_read_is_a_value_in_its_place(tmp_path, read, line, words):
    path = write(tmp_path, GOOD + b"\n\n" + line + b"\n" + GOOD + b"\n")
    first, fault, last = read(open_stream(path))
    assert first.target == last.target == "cat"
    assert isinstance(fault, MalformedRow)
    assert str(fault).startswith("train.jsonl line 3 (row 1): ")
    for word in words:
        assert word in str(fault)
    (chunk,) = open_stream(path).chunks()
    assert chunk.raw == [line]


def test_blank_lines_have_no_offset_and_any_line_break_will_do(tmp_path, read):
    stream = open_stream(write(tmp_path, b"\xef\xbb\xbf\r\n" + GOOD + b"\r\n  \n\n" + GOOD + b"\n\n"))
    assert stream.rows == 2
    assert [row.target for row in read(stream)] == ["cat", "cat"]
    assert len(read(stream, start=1)) == 1


def test_a_cut_file_gives_the_rows_before_and_goes_on_once_it_is_whole(tmp_path, read):
    path = write(tmp_path, GOOD + b"\n" + GOOD + b"\n" + GOOD[:-9])
    stream, seen = open_stream(path), []
    with pytest.raises(StreamError, match="cut at row 2, line 3"):
        seen.extend(chunk for chunk in stream.chunks())
    assert [len(chunk) for chunk in seen] == [2]
    before = stream.fingerprint()
    path.write_bytes(GOOD + b"\n" + GOOD + b"\n" + GOOD + b"\n")
    assert stream.continues(before)
    assert len(read(stream, start=seen[-1].end)) == 1


def test_a_last_line_that_is_whole_but_wrong_is_malformed_rather_than_cut(tmp_path, read):
    rows = read(open_stream(write(tmp_path, GOOD + b'\n{"input": [1], "target": {}}')))
    assert isinstance(rows[1], MalformedRow)


def test_a_truncated_gzip_gives_the_rows_before_the_cut(tmp_path):
    lines = b"".join(
        json.dumps({"input": list(np.random.default_rng(i).random(20)), "target": i}).encode() + b"\n"
        for i in range(2000)
    )
    whole = gzip.compress(lines)
    path = write(tmp_path, whole[: len(whole) // 2], "train.jsonl.gz")
    chunks: list[Chunk] = []
    with pytest.raises(StreamError, match="cut or damaged at row") as caught:
        chunks.extend(open_stream(path).chunks())
    rows = [row for chunk in chunks for row in chunk.rows]
    assert f"at row {len(rows)} " in str(caught.value)
    assert [row.target for row in rows] == list(range(len(rows)))
    assert 500 < len(rows) < 2000


def test_a_damaged_gzip_is_an_error_of_the_stream(tmp_path, read):
    whole = bytearray(gzip.compress(GOOD + b"\n", mtime=0))
    whole[-6] ^= 1
    with pytest.raises(StreamError, match="cut or damaged"):
        read(open_stream(write(tmp_path, bytes(whole), "a.jsonl.gz")))


@pytest.mark.parametrize("content", [b"", b"\n\n  \n", gzip.compress(b"", mtime=0)])
def test_an_empty_source_is_an_error(tmp_path, read, content):
    with pytest.raises(StreamError, match=r"a\.jsonl is empty"):
        read(open_stream(write(tmp_path, content, "a.jsonl")))


def test_utf16_is_named(tmp_path, read):
    with pytest.raises(StreamError, match="UTF-16"):
        read(open_stream(write(tmp_path, GOOD.decode().encode("utf-16"))))


def test_a_line_without_end_does_not_fill_the_memory(tmp_path, read):
    with pytest.raises(StreamError, match="more than 64 MiB"):
        read(open_stream(write(tmp_path, b"x" * ((1 << 26) + 1))))


def test_standard_input_is_json_lines(tmp_path):
    script = (
        "from tenuto.streams import open_stream\n"
        "s = open_stream('-')\n"
        "print(s.name, s.rows, s.fingerprint(), s.continues(None), s.continues('0:'))\n"
        "print([(c.source, c.offset, r.target) for c in s.chunks(1) for r in c.rows])\n"
    )
    lines = b"".join(b'{"input": [1], "target": %d}\n' % i for i in range(3))
    for piped in (lines, gzip.compress(lines)):
        done = subprocess.run(
            [sys.executable, "-c", script], input=piped, capture_output=True, check=True, cwd=ROOT
        )
        assert done.stdout.decode().splitlines() == [
            "stdin None None True False",
            "[('stdin', 1, 1), ('stdin', 1, 2)]",
        ]


def test_a_pipe_delivers_rows_as_they_come(tmp_path):
    path = tmp_path / "live.jsonl"
    os.mkfifo(path)
    go_on = threading.Event()

    def send() -> None:
        with path.open("wb", buffering=0) as pipe:
            pipe.write(GOOD + b"\n" + GOOD + b"\n" + GOOD[:7])
            go_on.wait(10)
            pipe.write(GOOD[7:] + b"\n")

    sender = threading.Thread(target=send)
    sender.start()
    chunks = open_stream(path).chunks()
    assert len(next(chunks)) == 2
    go_on.set()
    assert [(chunk.offset, len(chunk)) for chunk in chunks] == [(2, 1)]
    sender.join()


junk = st.one_of(
    st.binary(max_size=40).filter(lambda line: b"\n" not in line),
    st.text(max_size=20).map(lambda text: json.dumps(text).encode()),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: json.dumps({"input": value, "target": value}).encode()),
    st.integers(0, len(GOOD) - 1).map(lambda end: GOOD[:end]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 10**6), junk), min_size=1, max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.integers(1, 5),
)
def test_no_well_formed_row_is_lost_among_any_bytes(lines, ending, ended, size):
    """Ints stand for well-formed rows, marked by their domain."""
    texts = [
        b'{"input":[1],"target":%d,"domain":"well-formed"}' % x if isinstance(x, int) else x for x in lines
    ]
    wanted = [x for x in lines if isinstance(x, int)]
    content = b" " + ending.join(texts) + (ending if ended else b"")
    rows, fault = [], None
    with tempfile.TemporaryDirectory() as folder:
        stream = open_stream(write(Path(folder), content))
        try:
            for chunk in stream.chunks(size=size):
                rows += chunk.rows
        except StreamError as error:
            fault = str(error)
    assert fault is None or (f"is cut at row {len(rows)}" in fault and not ended) or "is empty" in fault
    examples = [row for row in rows if not isinstance(row, MalformedRow)]
    assert [row.target for row in examples if row.domain == "well-formed"] == wanted
