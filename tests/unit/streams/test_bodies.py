"""The journal's form of a row, and how rows become a batch."""

from __future__ import annotations

import contextlib

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tenuto.errors import ExampleError, MalformedRow
from tenuto.streams.encoding import collate, decode, encode
from tenuto.streams.values import NAMES, as_array, as_target
from tenuto.types import OnlineExample

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
arrays = hnp.arrays(
    st.sampled_from(list(NAMES)), hnp.array_shapes(max_dims=4, max_side=4), elements={"allow_nan": True}
)
labels = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), names)
numbers = st.floats(allow_nan=False)
examples = st.builds(
    OnlineExample,
    input=arrays,
    target=st.one_of(labels, numbers, st.lists(numbers, min_size=1, max_size=4)),
    id=st.none() | names,
    domain=st.none() | names,
    level=st.none() | numbers,
    weight=st.floats(min_value=1e-6, max_value=1e6),
    source=st.none() | names,
    principal=st.none() | names,
    derived_from=st.lists(names, max_size=3).map(tuple),
    last_loss=st.none() | numbers,
)


@settings(max_examples=150, deadline=None)
@given(examples)
def test_a_decoded_body_is_the_example(example):
    found = decode(encode(example))
    assert found.input.dtype == example.input.dtype
    assert found.input.tobytes() == example.input.tobytes()
    assert found.input.shape == example.input.shape
    assert found.input.flags.writeable
    assert type(found.target) is type(example.target)
    for field in ("target", "domain", "level", "weight", "derived_from"):
        assert getattr(found, field) == getattr(example, field)
    assert (found.id, found.source, found.principal, found.last_loss) == (None, None, None, None)


@settings(max_examples=50, deadline=None)
@given(examples)
def test_equal_examples_give_equal_bytes_whatever_names_them(example):
    other = msgspec.structs.replace(
        example, input=np.asfortranarray(example.input), id="other", source="s", principal="p", last_loss=2.0
    )
    assert encode(other) == encode(example)
    assert encode(decode(encode(example))) == encode(example)


def test_the_format_is_frozen():
    """Homes of earlier releases hold these bytes: a change of format takes a new tag."""
    example = OnlineExample(
        input=np.array([[1, 2], [3, 255]], np.uint8),
        target="cat",
        domain="day",
        level=0.5,
        weight=2.0,
        derived_from=("a1",),
    )
    body = bytes.fromhex(
        "9901a575696e7438920202c404010203ffa3636174a3646179cb3fe0000000000000cb400000000000000091a26131"
    )
    assert encode(example) == body
    assert decode(body).input.tolist() == [[1, 2], [3, 255]]


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        ([1, 2], "int64", (2,)),
        ([True, False], "int64", (2,)),
        ([True, 2], "int64", (2,)),
        ([[0.5], [1]], "float32", (2, 1)),
        ((1.0, 2.0), "float32", (2,)),
        (3, "int64", (1,)),
        (2.5, "float32", (1,)),
        (np.float64(2.5), "float64", (1,)),
        (np.zeros(2), "float64", (2,)),
        (np.zeros(2, bool), "bool", (2,)),
        (np.zeros(2, ">f4"), "float32", (2,)),
        (np.zeros(2, "uint16"), "int32", (2,)),
        (np.zeros(2, ">u4"), "int64", (2,)),
        (torch.zeros(2, 3, dtype=torch.float16), "float16", (2, 3)),
        (torch.zeros(2, dtype=torch.bfloat16), "float32", (2,)),
        (torch.zeros(2, requires_grad=True), "float32", (2,)),
        (torch.tensor(2.0), "float32", (1,)),
    ],
)
def test_inputs_become_arrays_of_a_known_dtype(value, dtype, shape):
    array = as_array(value)
    assert (array.dtype.name, array.dtype.isnative, array.shape) == (dtype, True, shape)
    assert decode(encode(OnlineExample(input=value, target=0))).input.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "empty"),
        (np.zeros((0, 3)), "empty"),
        ([[1], [1, 2]], "ragged"),
        ("text", "turned into numbers"),
        (["1"], "turned into numbers"),
        ([None], "turned into numbers"),
        (None, "turned into numbers"),
        ({"a": 1}, "turned into numbers"),
        ([1j], "complex128"),
        ([2**63], "uint64"),
        (np.array(["2020"], "datetime64"), "datetime64"),
        (torch.zeros(2).to_sparse(), "not plain numbers"),
    ],
)
def test_inputs_that_are_no_numbers_are_refused(value, words):
    with pytest.raises(ExampleError, match=words):
        encode(OnlineExample(input=value, target=0))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (True, 1),
        (np.bool_(False), 0),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.str_("cat"), "cat"),
        (np.array(3), 3),
        (torch.tensor(3), 3),
        (torch.tensor([1, 0]), [1.0, 0.0]),
        (np.array([0.5, 1.5]), [0.5, 1.5]),
        ((1, 2.5), [1.0, 2.5]),
        ([True, np.float32(0.5)], [1.0, 0.5]),
        (-0.0, 0.0),
    ],
)
def test_targets_become_plain(value, found):
    assert as_target(value) == found
    assert type(as_target(value)) is type(found)
    assert repr(decode(encode(OnlineExample(input=[1.0], target=value))).target) == repr(found)


@pytest.mark.parametrize(
    "field",
    [
        *[{"target": bad} for bad in ([], ["a"], [[1.0]], {}, 1j, np.zeros((2, 2)), 2**64, [10**400])],
        *[{"target": "\ud800"}, {"domain": 3}, {"domain": "\ud800"}, {"derived_from": (1,)}],
        *[{"weight": None}, {"weight": "x"}, {"level": "x"}, {"derived_from": 3}],
    ],
)
def test_what_does_not_fit_the_format_is_refused(field):
    with pytest.raises(ExampleError):
        encode(OnlineExample(input=[1.0], **field))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_batch_is_its_rows_side_by_side(data):
    dtype, shape = (
        data.draw(st.sampled_from(list(NAMES))),
        data.draw(hnp.array_shapes(max_dims=3, max_side=4)),
    )
    inputs = data.draw(st.lists(hnp.arrays(dtype, shape), min_size=1, max_size=5))
    rows = [
        OnlineExample(input=input, target=data.draw(labels), domain=data.draw(st.none() | names))
        for input in inputs
    ]
    batch = collate([encode(row) for row in rows])
    assert str(batch.inputs.dtype) == f"torch.{dtype.name}"
    assert batch.inputs.numpy().tobytes() == np.stack(inputs).tobytes()
    assert tuple(batch.inputs.shape) == (len(rows), *shape)
    assert batch.targets == [row.target for row in rows]
    assert batch.weights is None
    domains = [row.domain for row in rows]
    assert batch.domains == (domains if any(domain is not None for domain in domains) else None)
    batch.inputs.zero_()


def test_rows_of_several_dtypes_take_the_common_one():
    rows = [OnlineExample(input=value, target=0) for value in ([1, 2], [0.5, 1.5], np.ones(2, np.uint8))]
    batch = collate([encode(row) for row in rows])
    assert batch.inputs.dtype is torch.float32
    assert batch.inputs.tolist() == [[1.0, 2.0], [0.5, 1.5], [1.0, 1.0]]


def batch_of(*targets, weights=(), **options):
    weights = weights or [1.0] * len(targets)
    rows = [
        OnlineExample(input=[1.0], target=target, weight=weight)
        for target, weight in zip(targets, weights, strict=True)
    ]
    return collate([encode(row) for row in rows], **options)


def test_numbers_and_vectors_become_tensors():
    assert batch_of(0.5, 2).targets.tolist() == [0.5, 2.0]
    assert batch_of(0.5, 2).targets.dtype is torch.float32
    assert batch_of([0.5, 1], [2, 3]).targets.tolist() == [[0.5, 1.0], [2.0, 3.0]]
    assert batch_of(1, 2).targets == [1, 2]
    assert batch_of(1, 2, numbers=True).targets.tolist() == [1.0, 2.0]
    assert batch_of("a", 2, None).targets == ["a", 2, None]
    assert batch_of(1, 2, weights=(1.0, 0.5)).weights.tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ((0.5, "cat"), "kinds float, str"),
        ((0.5, None), "kinds NoneType, float"),
        (([1.0], [1.0, 2.0]), r"lengths \[1, 2\]"),
        (([1.0], 1.0), "kinds float, list"),
    ],
)
def test_targets_that_do_not_go_together_are_refused(targets, words):
    with pytest.raises(ExampleError, match=words):
        batch_of(*targets)
    with pytest.raises(ExampleError, match="NoneType"):
        batch_of(1, None, numbers=True)


def test_rows_that_do_not_go_together_are_refused():
    bodies = [encode(OnlineExample(input=value, target=0)) for value in ([1.0], [1.0, 2.0])]
    with pytest.raises(ExampleError, match=r"row 1 has an input of shape \(2,\) and row 0 one of \(1,\)"):
        collate(bodies)
    with pytest.raises(ExampleError, match="no rows"):
        collate([])


@settings(max_examples=150, deadline=None)
@given(examples, st.data())
def test_a_damaged_body_is_a_malformed_row_or_another_example(example, data):
    body = bytearray(encode(example))
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(MalformedRow, match="body 1 of 2 is damaged"):
        collate([bytes(body), bytes(body[:end])])
    body[end] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(MalformedRow):
        encode(decode(bytes(body)))


@pytest.mark.parametrize(
    "body",
    [
        "9901a575696e7438920202c403010203a3636174c0c0cb3ff000000000000090",
        "9901a5666c6f3332920202c404010203ffa3636174c0c0cb3ff000000000000090",
        "9901a575696e743890c40101a3636174c0c0cb3ff000000000000090",
        "9902a575696e74389101c40101a3636174c0c0cb3ff000000000000090",
    ],
)
def test_a_body_that_contradicts_itself_is_malformed(body):
    with pytest.raises(MalformedRow, match="body 0 of 1 is damaged"):
        decode(bytes.fromhex(body))
