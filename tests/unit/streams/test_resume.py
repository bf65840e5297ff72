"""What every format owes: offsets that hold, chunks that follow one another, a read that goes on."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenuto.errors import ConfigError, MalformedRow, StreamError
from tenuto.streams import open_stream

ROWS = 23


def jsonl() -> bytes:
    lines = [json.dumps({"input": [i / 2, 1.0], "target": i}) for i in range(ROWS)]
    lines[3], lines[17] = "{broken", '{"input": [1]}'
    return "\n\n".join(lines).encode() + b"\n"


def table(separator: str) -> bytes:
    lines = [
        separator.join(["x", "id", "y"]),
        *(f"{i / 2}{separator}r{i}{separator}{i}" for i in range(ROWS)),
    ]
    lines[5], lines[9] = f"one{separator}r4{separator}4", "half"
    return "\r\n".join(lines).encode() + b"\r\n"


def npz(path: Path) -> None:
    inputs = np.random.default_rng(0).random((ROWS, 3))
    np.savez(path, x=inputs, y=np.arange(ROWS), ids=[f"r{i}" for i in range(ROWS)])


def idx(path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (ROWS, 4, 4)).astype(np.uint8)
    path.write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, ROWS, 4, 4) + images.tobytes())
    labels = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    labels.write_bytes(gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, ROWS) + bytes(range(ROWS))))


BUILDERS: dict[str, Callable[[Path], object]] = {
    "a.jsonl": lambda path: path.write_bytes(jsonl()),
    "a.ndjson.gz": lambda path: path.write_bytes(gzip.compress(jsonl())),
    "a.csv": lambda path: path.write_bytes(table(",")),
    "a.tsv.gz": lambda path: path.write_bytes(gzip.compress(table("\t"))),
    "a.npz": npz,
    "images-idx3-ubyte": idx,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sources")
    for name, build in BUILDERS.items():
        (path / name).mkdir()
        build(path / name / name)
    return path


@pytest.mark.parametrize("name", BUILDERS)
@settings(max_examples=25, deadline=None)
@given(start=st.integers(0, ROWS), size=st.integers(1, ROWS + 2))
def test_a_read_goes_on_at_any_offset(folder, read, sign, name, start, size):
    path = folder / name / name
    whole = [sign(row) for row in read(open_stream(path))]
    assert len(whole) == ROWS
    assert [sign(row) for row in read(open_stream(path), start, size)] == whole[start:]
    assert [sign(row) for row in read(open_stream(path), {name: start, "other": 7}, size)] == whole[start:]


@pytest.mark.parametrize("name", BUILDERS)
def test_a_source_shorter_than_its_offset_was_replaced(folder, read, name):
    with pytest.raises(StreamError, match=f"has {ROWS} rows and cannot be read from row {ROWS + 1} on"):
        read(open_stream(folder / name / name), ROWS + 1)


@pytest.mark.parametrize("name", BUILDERS)
def test_rows_of_plain_files_are_known(folder, name):
    assert open_stream(folder / name / name).rows == (None if name.endswith(".gz") else ROWS)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_fingerprint_tells_the_source_from_another(folder, tmp_path, name):
    stream = open_stream(folder / name / name)
    taken = stream.fingerprint()
    assert stream.continues(taken)
    assert stream.continues(None)
    for other in ("", "0", "x:1", taken + "+" + taken, taken[:-1] + "g", "9" + taken):
        assert not stream.continues(other)


@settings(max_examples=25, deadline=None)
@given(
    first=st.integers(0, 200_000),
    more=st.integers(0, 100_000),
    flip=st.none() | st.integers(0, 65_535),
)
def test_a_file_that_has_grown_still_continues(tmp_path_factory, first, more, flip):
    path = tmp_path_factory.getbasetemp() / "grown.jsonl"
    path.write_bytes(b"x" * first)
    stream = open_stream(path)
    taken = stream.fingerprint()
    assert taken.startswith(f"{min(first, 65_536)}:")
    content = bytearray(b"x" * first + b"y" * more)
    if flip is not None and flip < first:
        content[flip] ^= 1
    path.write_bytes(content)
    assert stream.continues(taken) is (flip is None or flip >= first)


def test_a_shorter_file_does_not_continue(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"xx")
    taken = open_stream(path).fingerprint()
    path.write_bytes(b"x")
    assert not open_stream(path).continues(taken)


def test_malformed_rows_keep_their_offset(folder, read):
    rows = read(open_stream(folder / "a.jsonl" / "a.jsonl"))
    assert [i for i, row in enumerate(rows) if isinstance(row, MalformedRow)] == [3, 17]
    assert "line 35 (row 17)" in str(rows[17])


@pytest.mark.parametrize(("start", "size"), [(-1, 4), (0, 0)])
def test_offsets_and_sizes_are_checked(folder, start, size):
    with pytest.raises(ConfigError, match="start is at least 0"):
        open_stream(folder / "a.jsonl" / "a.jsonl").chunks(start, size)
