from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenuto.errors import MalformedRow, StreamError
from tenuto.streams import open_stream


def write(folder: Path, text: str, name: str = "train.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_every_column_has_its_place(tmp_path, read):
    text = "id, x1,domain,x2,class,weight,principal,x3\na7,1,day,-2.5e3,cat,2,ada,.5\n,0,,+1,7,0.5,,2\n"
    stream = open_stream(write(tmp_path, text))
    assert stream.rows == 2
    first, second = read(stream)
    assert first.input.dtype == np.float32
    assert first.input.tolist() == [1.0, -2500.0, 0.5]
    assert (first.id, first.domain, first.target, first.weight) == ("a7", "day", "cat", 2.0)
    assert (first.principal, first.source) == ("ada", "train.csv")
    assert (second.id, second.domain, second.target, second.principal) == (None, None, 7, None)


@pytest.mark.parametrize(
    ("header", "options", "target", "features"),
    [
        ("a,target,label", {}, 2, [1, 3]),
        ("y,class,a", {}, 2, [1, 3]),
        ("a,b,c", {}, 3, [1, 2]),
        ("a,b,id", {}, 2, [1]),
        ("a,b,c", {"target": "a"}, 1, [2, 3]),
        ("a,b,c", {"target": "b", "input": "c"}, 2, [3]),
        ("a,weight,y", {"input": "weight,a"}, 3, [2, 1]),
        ("a,b,c", {"labelled": False}, None, [1, 2, 3]),
        ("a,b,label", {"labelled": False}, 3, [1, 2]),
        ("a,b,c", {"id_field": "a", "domain_field": "b", "labelled": False}, None, [3]),
    ],
)
def test_the_target_is_the_one_named_or_the_usual_or_the_last(
    tmp_path, read, header, options, target, features
):
    (row,) = read(open_stream(write(tmp_path, header + "\n1,2,3\n"), **options))
    assert row.target == target
    assert row.input.tolist() == features


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        *[("7", 7), ("-7", -7), ("+7", 7), ("007", 7), ("3.5", 3.5), ("1e3", 1000.0), (".5", 0.5)],
        *[("cat", "cat"), (" cat ", "cat"), ("nan", "nan"), ("1_0", "1_0"), ("", None)],
        ("9" * 30, "9" * 30),
    ],
)
def test_target_cells_are_labels_or_numbers(tmp_path, read, cell, found):
    (row,) = read(open_stream(write(tmp_path, f"x,y\n1,{cell}\n")))
    assert row.target == found
    assert type(row.target) is type(found)


def test_quoted_cells_and_tabs(tmp_path, read):
    (row,) = read(open_stream(write(tmp_path, 'x,"the ""y"""\r\n"1.5","a, b"\r\n'), target='the "y"'))
    assert (row.input.tolist(), row.target) == ([1.5], "a, b")
    (row,) = read(open_stream(write(tmp_path, "x\ty\n1.5\ta, b", "a.tsv")))
    assert (row.input.tolist(), row.target) == ([1.5], "a, b")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1,two,3", ["'two' in column 'b' is not a number"]),
        ("1,,3", ["'' in column 'b'"]),
        ("1,2", ["2 cells where the header names 3"]),
        ("1,2,3,4", ["4 cells where the header names 3"]),
        ('1,"2,3', ["close every quote"]),
        ('1,2,"a"b', ["close every quote"]),
    ],
)
def test_a_row_that_cannot_be_read_is_a_value_in_its_place(tmp_path, read, line, words):
    first, fault, last = read(open_stream(write(tmp_path, f"a,b,c\n1,2,3\n{line}\n\n4,5,6\n")))
    assert (first.target, last.target) == (3, 6)
    assert isinstance(fault, MalformedRow)
    assert str(fault).startswith("train.csv line 3 (row 1): ")
    for word in words:
        assert word in str(fault)


def test_numbers_beyond_float32_are_left_to_validation(tmp_path, read):
    (row,) = read(open_stream(write(tmp_path, "x,z,y\n1e300,nan,1\n")))
    assert np.isinf(row.input[0])
    assert np.isnan(row.input[1])


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("1,2,3\n4,5,6\n", {}, "no header"),
        ("a,b,a\n1,2,3\n", {}, "two columns 'a'"),
        ("a;b;c\n1;2;3\n", {}, "separated by another character"),
        ("a,b\n1,2\n", {"target": "c"}, "no column 'c'; its columns are a, b"),
        ("a,b\n1,2\n", {"input": "a,c"}, "no column 'c'"),
        ("a,b\n", {}, "is empty"),
        ("", {}, "is empty"),
        ('a,"b\n1,2\n', {}, "header that cannot be read"),
        ("a,b\n1,2\n3", {}, "cut at row 1, line 3"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error_of_the_stream(tmp_path, read, text, options, words):
    with pytest.raises(StreamError, match=words):
        read(open_stream(write(tmp_path, text), **options))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(0, 10**6),
            st.binary(max_size=20).filter(lambda line: b"\n" not in line),
            st.text("0123456789.,\"' e-", max_size=12).map(str.encode),
        ),
        max_size=10,
    ),
    st.booleans(),
)
def test_no_well_formed_row_is_lost_among_any_bytes(lines, ended):
    texts = [b"1.5,2.5,whole-%d" % x if isinstance(x, int) else x for x in lines]
    rows, fault = [], None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        path.write_bytes(b"\n".join([b"a,b,y", *texts]) + (b"\n" if ended else b""))
        try:
            for chunk in open_stream(path).chunks(size=3):
                rows += chunk.rows
        except StreamError as error:
            fault = str(error)
    assert fault is None or (f"is cut at row {len(rows)}" in fault and not ended) or "is empty" in fault
    targets = [row.target for row in rows if not isinstance(row, MalformedRow)]
    wanted = [f"whole-{x}" for x in lines if isinstance(x, int)]
    assert [target for target in targets if str(target).startswith("whole-")] == wanted


@pytest.mark.data
def test_electricity_is_read_whole(data, read):
    path = data / "electricity" / "electricity.csv.gz"
    with gzip.open(path, "rt") as file:
        wanted = np.loadtxt(file, delimiter=",", skiprows=1, dtype=np.float64)
    rows = read(open_stream(path))
    assert len(rows) == 45_312
    assert np.array_equal(np.stack([row.input for row in rows]), wanted[:, :-1].astype(np.float32))
    assert [row.target for row in rows] == wanted[:, -1].astype(int).tolist()
