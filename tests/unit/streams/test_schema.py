from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from msgspec.structs import replace

from tenuto.errors import ConfigError, ExampleError, StateError
from tenuto.streams.validation import Schema
from tenuto.types import OnlineExample

ROW = OnlineExample(input=np.array([0.5, 1.0], np.float32), target=3, id="a7")


@pytest.mark.parametrize(
    ("target", "task", "kind", "width"),
    [
        (3, "classification", "int label", None),
        (True, "classification", "int label", None),
        (np.int64(3), "classification", "int label", None),
        ("cat", "classification", "str label", None),
        (3, "regression", "number", None),
        (2.5, "regression", "number", None),
        ([1.0, 2.0], "regression", "vector", 2),
        (torch.tensor([1.0, 2.0, 3.0]), "regression", "vector", 3),
    ],
)
def test_a_schema_is_that_of_its_first_row(target, task, kind, width):
    schema = Schema.of(OnlineExample(input=np.zeros((2, 3), np.uint8), target=target), task)
    assert (schema.task, schema.shape, schema.kind, schema.target, schema.width) == (
        *(task, (2, 3), "number", kind, width),
    )
    assert Schema.from_plain(json.loads(json.dumps(schema.to_plain()))) == schema
    schema.check(OnlineExample(input=torch.ones(2, 3), target=target))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input": [1.0]}, r"shape \(1,\) instead of \(2,\); send rows of one shape"),
        ({"input": [1.0, float("nan")]}, r"input\[1\] is nan.*impute"),
        ({"input": [[1.0], [2.0]]}, r"shape \(2, 1\) instead of"),
        ({"input": np.array([np.inf, 0])}, r"input\[0\] is inf"),
        ({"input": np.array([1e300, 0])}, r"input\[0\] is 1e\+300.*rescale"),
        ({"input": [1e300, 0.0]}, r"input\[0\] is inf"),
        ({"input": "text"}, "turned into numbers"),
        ({"target": None}, "target is missing; send it"),
        ({"target": "cat"}, "target 'cat' is text where .* 'int label'; use one kind"),
        ({"target": 3.5}, "target 3.5 is a decimal number; labels are whole numbers or text.*regression"),
        ({"target": [1.0]}, "is a vector; labels are"),
        ({"target": {}}, "neither a label"),
        ({"target": 2**63}, "does not fit 64 bits"),
        *[({"weight": bad}, "weight is") for bad in (0.0, -1, float("nan"), float("inf"), None, True, "1")],
        ({"level": float("nan")}, "level is nan, which is not finite"),
        ({"id": ""}, "id has 0 characters; send 1 to 512"),
        ({"id": "x" * 513}, "id has 513 characters"),
        ({"id": 7}, "id is 7; send text"),
        ({"id": "a\n"}, "control characters"),
        ({"domain": "\ud800"}, "half a character"),
        ({"source": ""}, "source has 0"),
        ({"principal": "\0"}, "control characters"),
        ({"derived_from": ("",)}, "derived_from has 0 characters"),
        ({"derived_from": "a1"}, "send a tuple of ids"),
    ],
)
def test_a_row_that_cannot_be_learned_is_refused_with_the_remedy(change, words):
    schema = Schema.of(ROW)
    with pytest.raises(ExampleError, match=words) as caught:
        schema.check(replace(ROW, **change))
    if "id" not in change:
        assert str(caught.value).startswith("row 'a7': ")


@pytest.mark.parametrize(
    ("target", "task", "words"),
    [
        (None, "classification", "target is missing"),
        (2.5, "classification", "set the task to regression"),
        ([1.0], "classification", "is a vector"),
        ("", "classification", "label has 0 characters"),
        ("cat", "regression", "is text; targets are numbers or vectors.*classification"),
        (float("nan"), "regression", "target is nan, which is not finite"),
        (1e39, "regression", "not finite in float32"),
        ([1.0, float("inf")], "regression", "target is inf"),
        (10**400, "regression", "not finite"),
    ],
)
def test_a_first_row_that_cannot_be_learned_makes_no_schema(target, task, words):
    with pytest.raises(ExampleError, match=f"the row: .*{words}"):
        Schema.of(OnlineExample(input=[1.0], target=target), task)


@pytest.mark.parametrize(
    ("first", "other", "words"),
    [
        (2.5, [1.0], "is a vector where .* 'number'"),
        ([1.0, 2.0], [1.0], "target has 1 numbers instead of 2"),
        ([1.0, 2.0], 1.0, "is a decimal number where .* 'vector'"),
        ([1.0, 2.0], [1.0, float("nan")], "not finite"),
    ],
)
def test_targets_of_regression_keep_one_form(first, other, words):
    schema = Schema.of(OnlineExample(input=[1.0], target=first), "regression")
    with pytest.raises(ExampleError, match=words):
        schema.check(OnlineExample(input=[1.0], target=other))


def test_good_rows_pass_in_any_form():
    schema = Schema.of(ROW)
    for change in (
        {"input": [1, 2]},
        {"input": [True, False]},
        {"input": torch.ones(2)},
        {"input": np.full(2, 3e38, np.float32)},
        {"input": np.full(2, 65504, np.float16)},
        {"target": np.uint8(4)},
        {"target": False},
        {"weight": 3},
        {"weight": np.float32(0.5)},
        {"id": "größe\u00a0\u3000"},
        {"derived_from": ("a1", "a2")},
        {"level": 1},
    ):
        schema.check(replace(ROW, **change))
    Schema.of(OnlineExample(input=[1.0], target=7), "regression").check(
        OnlineExample(input=[1.0], target=2.5)
    )


def test_models_that_look_numbers_up_take_whole_ones_only():
    schema = Schema.of(OnlineExample(input=[5, 7], target=1), kind="int")
    schema.check(OnlineExample(input=np.array([1, 2], np.int32), target=1))
    with pytest.raises(ExampleError, match="float32; send whole numbers"):
        schema.check(OnlineExample(input=[5.0, 7.0], target=1))


def test_unknown_tasks_and_states_are_refused():
    with pytest.raises(ConfigError, match="'ranking'"):
        Schema.of(ROW, "ranking")
    with pytest.raises(ConfigError, match="'text'"):
        Schema.of(ROW, kind="text")
    plain = Schema.of(ROW).to_plain()
    for broken in ({}, plain | {"task": "ranking"}, plain | {"shape": ["2"]}, plain | {"width": "2"}):
        with pytest.raises(StateError, match="no schema"):
            Schema.from_plain(broken)


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        hnp.array_shapes(max_dims=3, max_side=5),
        elements={"allow_nan": True, "allow_infinity": True},
    )
)
def test_exactly_the_inputs_finite_in_float32_pass(input):
    with np.errstate(over="ignore"):
        finite = bool(np.isfinite(input.astype(np.float32)).all())
    schema = Schema(task="classification", shape=input.shape, target="int label")
    try:
        schema.check(OnlineExample(input=input, target=0))
        passed = True
    except ExampleError:
        passed = False
    assert passed is finite
