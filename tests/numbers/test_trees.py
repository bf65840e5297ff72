"""Arithmetic on trees against plain tensors, and digests that see every bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tenuto import trees

SHAPES = st.dictionaries(st.text(min_size=1), st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=4)


def tree(shapes: dict[str, list[int]], seed: int) -> trees.Tree:
    """A tree of these shapes."""
    draws = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()}


@given(SHAPES, st.floats(-4, 4))
def test_arithmetic_is_leaf_by_leaf(shapes: dict[str, list[int]], factor: float) -> None:
    a, b, c = (tree(shapes, seed) for seed in range(3))
    added, scaled = trees.add(a, b, None, c, alpha=factor), trees.scale(a, factor)
    for name in shapes:
        torch.testing.assert_close(added[name], a[name] + factor * b[name] + factor * c[name])
        torch.testing.assert_close(scaled[name], factor * a[name])
    torch.testing.assert_close(trees.dot(a, b), torch.stack([(a[n] * b[n]).sum() for n in shapes]).sum())
    copied = trees.copy(a)
    trees.accumulate(a, b, alpha=factor)
    for name in shapes:
        torch.testing.assert_close(a[name], copied[name] + factor * b[name])


def test_adding_nothing_copies_nothing() -> None:
    a = {"w": torch.ones(2)}
    assert trees.add(a) is a
    assert trees.add(a, None) is a


@pytest.mark.parametrize("size", [1, 3, 100, 5000])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_entry_that_is_not_finite_is_found(size: int, value: float) -> None:
    values = torch.ones(size)
    assert trees.finite({"w": values})
    assert trees.squarable(values)
    values[size // 2] = value
    assert not trees.finite({"v": torch.ones(2), "w": values})
    assert not trees.squarable(values)


@pytest.mark.parametrize("size", [1, 3, 100, 5000])
def test_what_cannot_be_squared_is_found(size: int) -> None:
    values = torch.zeros(size)
    for value, fits in ((1e18, True), (-1e18, True), (1e20, False), (-3e38, False)):
        values[0] = value
        assert trees.squarable(values) is fits
        assert trees.squarable(values.double()) is fits


STATES: list[Any] = [
    {},
    [],
    {"a": 1},
    {"a": 1.0},
    {"a": True},
    {"a": "1"},
    {"a": None},
    {"a": [1]},
    {"a": [1, 2]},
    {"a": [[1], 2]},
    {"b": 1},
    {"a": {"b": 1}},
    {"a": 0.1 + 0.2},
    {"a": 0.3},
    {"a": 0.0},
    {"a": -0.0},
    {"a": torch.zeros(2)},
    {"a": -torch.zeros(2)},
    {"a": torch.zeros(1, 2)},
    {"a": torch.zeros(2, 1)},
    {"a": torch.zeros(2, dtype=torch.int32)},
    {"a": torch.zeros(())},
    {"a": torch.zeros(0)},
    {"a": torch.zeros(0, 3)},
    {"a": torch.tensor([0.0, 1e-45])},
]


def test_states_that_differ_have_digests_that_differ() -> None:
    assert len({trees.digest(state) for state in STATES}) == len(STATES)


@pytest.mark.parametrize("state", STATES, ids=repr)
def test_a_digest_is_of_values_alone(state: Any) -> None:
    assert trees.digest(trees.detach(state)) == trees.digest(state)
    if isinstance(state, dict):
        assert trees.digest({"z": 1, **state}) == trees.digest({**state, "z": 1})


def test_a_digest_does_not_see_strides() -> None:
    square = torch.arange(6.0).view(2, 3)
    assert trees.digest(square.T) == trees.digest(square.T.contiguous())
    assert trees.digest(square[:, ::2]) == trees.digest(square[:, ::2].clone())


def test_a_detached_state_shares_nothing() -> None:
    state: dict[str, Any] = {"a": [torch.ones(1, requires_grad=True)], "b": {"c": [1]}}
    copied = trees.detach(state)
    copied["a"][0].zero_()
    copied["b"]["c"].append(2)
    assert isinstance(state["a"][0], Tensor)
    assert state["a"][0].item() == 1
    assert state["b"]["c"] == [1]
