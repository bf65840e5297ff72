"""What a path leads to: a file by its name, a folder, nothing at all."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tenuto.errors import ConfigError, StreamError
from tenuto.streams import FORMATS, open_stream

ROOT = Path(__file__).parents[3]
GOOD = '{"input": [0.5, 1.0], "target": "cat"}\n'


def images(folder: Path, prefix: str, n: int) -> None:
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(
        struct.pack(">BBBB3I", 0, 0, 8, 3, n, 1, 1) + bytes(n)
    )
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, n) + bytes(n))


def test_a_folder_is_its_files_in_order_each_a_source(tmp_path, read, sign):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name, n in (
        ("b.jsonl", 2),
        ("a.csv", 3),
        ("sub/c.jsonl", 4),
        (".hidden/d.jsonl", 1),
        ("notes.txt", 1),
    ):
        (tmp_path / name).write_text("x,y\n" + "1,2\n" * n if name.endswith("csv") else GOOD * n)
    stream = open_stream(tmp_path)
    assert [part.name for part in stream.parts] == ["a.csv", "b.jsonl", "sub/c.jsonl"]
    assert (stream.name, stream.rows, stream.fingerprint()) == (tmp_path.name, 9, None)
    assert stream.continues(None)
    assert not stream.continues(stream.parts[0].fingerprint())
    whole = read(stream)
    assert [row.source for row in whole] == ["a.csv"] * 3 + ["b.jsonl"] * 2 + ["sub/c.jsonl"] * 4
    rest = read(stream, {"a.csv": 3, "b.jsonl": 1}, 2)
    assert [sign(row) for row in rest] == [sign(row) for row in whole[4:]]
    with pytest.raises(StreamError, match="give the offset of each source rather than 3"):
        read(stream, 3)
    assert [part.name for part in open_stream(tmp_path, name="all").parts] == [
        *("all/a.csv", "all/b.jsonl", "all/sub/c.jsonl")
    ]


def test_a_folder_with_one_idx_pair_is_that_pair(tmp_path, read):
    images(tmp_path, "digits", 3)
    (tmp_path / "more.jsonl").write_text(GOOD)
    assert open_stream(tmp_path).name == "digits-images-idx3-ubyte"
    images(tmp_path, "t10k", 4)
    with pytest.raises(StreamError, match="several IDX files; name one of them: digits"):
        open_stream(tmp_path)
    images(tmp_path, "train", 5)
    assert len(read(open_stream(tmp_path))) == 5


def test_a_folder_may_be_read_in_one_format(tmp_path, read):
    (tmp_path / "a.txt").write_text(GOOD)
    with pytest.raises(StreamError, match="holds no file of a known format; known are jsonl"):
        open_stream(tmp_path)
    assert len(read(open_stream(tmp_path, format="jsonl"))) == 1


def test_what_is_unknown_is_named_with_what_is_known(tmp_path):
    (tmp_path / "a.parquet").write_text(GOOD)
    with pytest.raises(StreamError) as caught:
        open_stream(tmp_path / "a.parquet")
    assert all(name in str(caught.value) for name in FORMATS)
    with pytest.raises(ConfigError, match="'parquet' is unknown; known are jsonl"):
        open_stream(tmp_path / "a.parquet", format="parquet")
    with pytest.raises(ConfigError, match="npz cannot be read from standard input"):
        open_stream("-", format="npz")
    with pytest.raises(StreamError, match="there is no file or folder at"):
        open_stream(tmp_path / "absent.jsonl")


def test_names_may_be_given_and_capitals_do_not_matter(tmp_path, read):
    (tmp_path / "A.JSONL").write_text(GOOD)
    (row,) = read(open_stream(str(tmp_path / "A.JSONL"), name="mine"))
    assert row.source == "mine"


def test_a_file_that_vanishes_is_an_error_of_the_stream(tmp_path, read):
    path = tmp_path / "a.jsonl"
    path.write_text(GOOD)
    stream = open_stream(path)
    path.unlink()
    for use in (
        lambda: read(stream),
        stream.fingerprint,
        lambda: stream.rows,
        lambda: stream.continues("1:a"),
    ):
        with pytest.raises(StreamError, match="there is no file"):
            use()


@contextmanager
def unprivileged() -> Iterator[None]:
    """Permission bits bind only those who are not root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_says_how_to_allow_it(read):
    folder = Path(tempfile.mkdtemp())
    try:
        os.chmod(folder, 0o755)
        (folder / "a.jsonl").write_text(GOOD)
        (folder / "shut").mkdir()
        (folder / "shut" / "b.jsonl").write_text(GOOD)
        os.chmod(folder / "a.jsonl", 0)
        os.chmod(folder / "shut", 0)
        with unprivileged():
            for path in ("a.jsonl", "shut", "shut/b.jsonl", "."):
                with pytest.raises(StreamError, match=r"permission denied; allow it with `chmod a\+rX`"):
                    open_stream(folder / path)
    finally:
        os.chmod(folder / "shut", 0o755)
        shutil.rmtree(folder)


def test_reading_and_encoding_import_no_torch(tmp_path):
    (tmp_path / "a.jsonl").write_text(GOOD)
    script = (
        "import sys\n"
        "from tenuto.streams import open_stream\n"
        "assert 'numpy' not in sys.modules\n"
        "from tenuto.streams import npz, idx, table\n"
        "from tenuto.streams.encoding import decode, encode\n"
        "from tenuto.streams.validation import Schema\n"
        "row = next(open_stream(sys.argv[1]).chunks()).rows[0]\n"
        "Schema.of(row).check(decode(encode(row)))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=ROOT)
