from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tenuto.errors import ConfigError, StreamError
from tenuto.streams import open_stream

CODES = {">u1": 8, ">i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx(array: np.ndarray, dtype: str = ">u1") -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[dtype], array.ndim, *array.shape)
    return header + array.astype(dtype).tobytes()


def pair(folder: Path, n: int = 5, end: str = "", dtype: str = ">u1", prefix: str = "train") -> Path:
    images = np.arange(n * 6).reshape(n, 2, 3) % 256
    squeeze = gzip.compress if end else bytes
    (folder / f"{prefix}-labels-idx1-ubyte{end}").write_bytes(squeeze(idx(np.arange(n) % 3)))
    path = folder / f"{prefix}-images-idx3-ubyte{end}"
    path.write_bytes(squeeze(idx(images, dtype)))
    return path


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("dtype", CODES)
def test_idx_rows_are_views_in_the_dtype_of_the_source(tmp_path, read, end, dtype):
    stream = open_stream(pair(tmp_path, 5, end, dtype))
    rows = read(stream)
    assert stream.rows == 5
    assert [row.target for row in rows] == [0, 1, 2, 0, 1]
    assert all(type(row.target) is int for row in rows)
    assert rows[4].input.dtype == np.dtype(dtype).newbyteorder("=")
    assert rows[4].input.tolist() == [[24, 25, 26], [27, 28, 29]]
    assert rows[0].input.base is rows[4].input.base


def test_labels_are_found_beside_gzipped_or_not(tmp_path, read):
    pair(tmp_path, 5, ".gz")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(
        gzip.decompress((tmp_path / "train-images-idx3-ubyte.gz").read_bytes())
    )
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    assert len(read(open_stream(tmp_path / "train-images-idx3-ubyte"))) == 5
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(StreamError, match="no labels beside it"):
        open_stream(tmp_path / "train-images-idx3-ubyte")
    assert read(open_stream(tmp_path / "train-images-idx3-ubyte", labelled=False))[0].target is None


def test_both_files_of_a_pair_are_in_the_fingerprint(tmp_path):
    path = pair(tmp_path)
    before = open_stream(path).fingerprint()
    assert open_stream(path).continues(before)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x09")
    assert not open_stream(path).continues(before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda whole: whole[:-1], "promises 5 rows in 30 bytes, 29 are there"),
        (lambda whole: whole + b"\0", "31 are there"),
        (lambda whole: b"\0\1" + whole[2:], "no IDX file"),
        (lambda whole: b"\0\0\x07" + whole[3:], "no IDX file"),
        (lambda whole: whole[:3], "no IDX file"),
        (lambda whole: whole[:9], "no IDX file"),
        (lambda whole: b"", "is empty"),
        (lambda whole: gzip.compress(whole)[:-9], "cut or damaged"),
        (lambda whole: idx(np.zeros((4, 2, 3))), "holds 4 rows and .* labels of shape"),
        (lambda whole: idx(np.zeros((0, 2, 3))), "holds 0 rows and .* labels of shape"),
        (lambda whole: whole[:4] + b"\xff" * 12 + whole[16:], "promises 4294967295 rows"),
    ],
)
def test_a_damaged_idx_file_is_an_error_of_the_stream(tmp_path, read, change, words):
    path = pair(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(StreamError, match=words):
        read(open_stream(path))


def test_idx_names_no_fields_and_any_name_will_do_with_its_format(tmp_path, read):
    path = pair(tmp_path)
    with pytest.raises(ConfigError, match="names no fields"):
        open_stream(path, target="label")
    path.rename(tmp_path / "digits.bin")
    assert len(read(open_stream(tmp_path / "digits.bin", format="idx", labelled=False))) == 5


@pytest.mark.parametrize(("x", "y"), [("inputs", "targets"), ("x", "y"), ("X", "labels")])
def test_npz_arrays_are_found_by_their_usual_names(tmp_path, read, x, y):
    inputs = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.savez(tmp_path / "a.npz", **{x: inputs, y: np.array([2, 0, 1])})
    stream = open_stream(tmp_path / "a.npz")
    rows = read(stream)
    assert stream.rows == 3
    assert [row.target for row in rows] == [2, 0, 1]
    assert rows[1].input.tolist() == [4.0, 5.0, 6.0, 7.0]
    assert rows[1].input.dtype == np.float32


def test_npz_targets_keep_their_kind_and_rows_their_names(tmp_path, read):
    np.savez_compressed(
        tmp_path / "a.npz",
        pixels=np.arange(2),
        digit=np.array(["cat", "dog"]),
        key=np.array([7, 8]),
        camera=np.array(["left", "right"]),
        vectors=np.eye(2),
        numbers=np.array([0.5, 1.5]),
    )

    def opened(**options):
        return read(open_stream(tmp_path / "a.npz", input="pixels", **options))

    (row, _) = opened(target="digit", id_field="key", domain_field="camera")
    assert (row.input.shape, row.target, row.id, row.domain) == ((1,), "cat", "7", "left")
    assert [row.target for row in opened(target="numbers")] == [0.5, 1.5]
    assert opened(target="vectors")[1].target.tolist() == [0.0, 1.0]
    assert opened(labelled=False)[0].target is None
    with pytest.raises(StreamError, match="no array targets or y or labels; its arrays are pixels, digit"):
        opened()
    with pytest.raises(StreamError, match="no array absent"):
        opened(target="digit", id_field="absent")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((3, 2)), "y": np.zeros(2)}, r"inputs of shape \(3, 2\) and targets of shape \(2,\)"),
        ({"x": np.array(3.0), "y": np.zeros(1)}, r"inputs of shape \(\)"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "is empty"),
        ({"x": np.array([{}, []], dtype=object), "y": np.zeros(2)}, "Python objects"),
    ],
)
def test_npz_arrays_that_cannot_be_rows(tmp_path, read, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(StreamError, match=words):
        read(open_stream(tmp_path / "a.npz"))


def test_a_damaged_archive_is_an_error_of_the_stream(tmp_path, read):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((50, 4)), y=np.arange(50))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[120] ^= 255
    for content in (b"", b"nonsense", whole[:-30], whole[:40], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(StreamError, match="cannot be read as an archive"):
            read(open_stream(path))
    with path.open("wb") as file:
        np.save(file, np.zeros((3, 2)))
    with pytest.raises(StreamError, match="a single array"):
        read(open_stream(path))


@pytest.mark.data
def test_mnist_is_read_whole(data, read):
    stream = open_stream(data / "mnist")
    assert (stream.name, stream.rows) == ("train-images-idx3-ubyte.gz", 60_000)
    rows = read(stream, start=10)
    assert len(rows) == 59_990
    test = read(open_stream(data / "mnist" / "t10k-images-idx3-ubyte.gz"))
    assert np.bincount([row.target for row in test]).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
    pixels = np.stack([row.input for row in test])
    assert pixels.dtype == np.uint8
    assert pixels.shape == (10_000, 28, 28)
    assert round(float(pixels.mean()), 4) == 33.7912
