"""Labels and their columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import ExampleError, NothingLearned
from tenuto.tasks import Classification, Regression


@pytest.mark.parametrize(
    "targets",
    [
        [0, 2, 1],
        (0, 2, 1),
        np.array([0, 2, 1]),
        np.array([0, 2, 1], np.uint8),
        [np.int64(0), np.int32(2), np.uint8(1)],
        torch.tensor([0, 2, 1]),
        torch.tensor([0, 2, 1], dtype=torch.int32),
        [torch.tensor(0), torch.tensor(2), torch.tensor(1)],
    ],
    ids=repr,
)
def test_whole_numbers_of_any_kind_are_labels(targets: Any) -> None:
    task = Classification()
    task.grow(task.unknown(targets, 3))
    assert task.classes == [0, 1, 2]
    encoded = task.encode(targets)
    assert encoded is not None
    assert encoded.dtype == torch.int64
    assert encoded.tolist() == [0, 2, 1]


@pytest.mark.parametrize("targets", [["b", "a"], np.array(["b", "a"]), [np.str_("b"), "a"]], ids=repr)
def test_names_claim_columns_in_order_of_appearance(targets: Any) -> None:
    task = Classification()
    task.grow(task.unknown(targets, 4))
    encoded = task.encode(targets)
    assert task.classes == ["b", "a"]
    assert encoded is not None
    assert encoded.tolist() == [0, 1]


def test_ints_claim_all_columns_there_are_then_grow() -> None:
    task = Classification()
    assert task.unknown([7, 1, -2, 7], 3) == [0, 1, 2, 7, -2]
    task.grow(task.unknown([1], 3))
    assert task.unknown([7, 1, -2, 7], 3) == [7, -2]


@pytest.mark.parametrize(
    ("known", "targets", "message"),
    [
        ([], [1.5], "label 1.5 is a float; labels are int or str"),
        ([], [1, True], "label True is a bool"),
        ([], [None], "label None is a NoneType"),
        ([], [["a"]], r"label \['a'\] is a list"),
        ([], ["a", 1], r"label 1 is a int; labels here are str \(as 'a'\)"),
        ([1], [1.0], "label 1.0 is a float"),
        ([1], [True], "label True is a bool"),
        ([1], np.array([1.0]), "label 1.0 is a float"),
        ([1], ["1"], r"label '1' is a str; labels here are int \(as 1\)"),
        (["1"], [1], "label 1 is a int; labels here are str"),
        ([0, 1], torch.tensor([[0, 1]]), r"label \[0, 1\] is a list"),
        ([1], [np.array([1, 1])], r"label \[1, 1\] is a list"),
        ([1], [b"1"], "label b'1' is a bytes"),
    ],
)
def test_a_label_of_another_kind_is_named(known: list[Any], targets: Any, message: str) -> None:
    task = Classification(known)
    assert task.encode(targets) is None
    with pytest.raises(ExampleError, match=message):
        task.unknown(targets, 2)
    assert task.classes == known


@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5), max_size=6), st.data())
def test_growth_is_taken_back(batches: list[list[str]], data: st.DataObject) -> None:
    task = Classification()
    for batch in batches:
        task.grow(task.unknown(batch, 0))
    count = data.draw(st.integers(0, len(task.classes)))
    kept = task.classes[:count]
    task.shrink(count)
    assert task.classes == kept
    assert task.unknown(["a", "z"], 0) == [label for label in ("a", "z") if label not in kept]
    task.grow(["z"])
    assert task.encode(["z"]).tolist() == [count]  # type: ignore[union-attr]


def test_answers_name_only_known_labels() -> None:
    outputs = torch.tensor([[1.0, 2.0, 9.0], [3.0, 0.0, 9.0]])
    answer = Classification(["a", "b"]).answer(outputs)
    assert answer.labels == ["b", "a"]
    assert answer.classes == ("a", "b")
    assert answer.probabilities is not None
    torch.testing.assert_close(answer.probabilities, outputs[:, :2].softmax(1))
    assert torch.equal(answer.outputs, outputs)
    assert Classification().answer(outputs).labels == [2, 2]
    with pytest.raises(NothingLearned, match="no class is known yet"):
        Classification().answer(torch.zeros(1, 0))


def test_losses_are_nats() -> None:
    task, outputs, targets = Classification(range(3)), torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    torch.testing.assert_close(task.losses(outputs, targets).mean(), task.loss(outputs, targets))
    torch.testing.assert_close(task.losses(outputs, targets), -outputs.log_softmax(1)[range(5), targets])
    assert task.loss(torch.zeros(4, 7), torch.zeros(4, dtype=torch.int64)).item() == pytest.approx(np.log(7))
    assert task.groups(targets).tolist() == targets.tolist()


@pytest.mark.parametrize(
    ("targets", "width"),
    [
        ([1.0, 2.0], 1),
        ([1, 2], 1),
        ([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], 3),
        ([np.ones(2), np.zeros(2)], 2),
        ([np.float32(1), 2.0], 1),
        ([torch.ones(2), torch.zeros(2)], 2),
        (np.ones((2, 4)), 4),
        (torch.ones(2, 4, dtype=torch.float64).T[:2], 2),
    ],
    ids=repr,
)
def test_regression_takes_numbers_and_vectors(targets: Any, width: int) -> None:
    encoded = Regression().encode(targets)
    assert encoded.dtype == torch.float32
    assert encoded.shape == (2, width)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([1.0, float("nan")], "the target of row 1 is NaN"),
        ([[1.0, 2.0], [float("inf"), 1.0]], "the target of row 1 is"),
        ([1e300, 1.0], "the target of row 0 is"),
        ([3e38, 3e38], "the target of row 0 is"),
        ([None, 1.0], "targets must be numbers"),
        (["1.5", "2.5"], "targets must be numbers"),
        ([[1.0], [1.0, 2.0]], "targets must be numbers"),
        ([True, False], "targets must be numbers"),
        ([{}, {}], "targets must be numbers"),
    ],
)
def test_regression_names_what_is_no_number(targets: Any, message: str) -> None:
    with pytest.raises(ExampleError, match=message):
        Regression().encode(targets)


def test_regression_answers_with_numbers_or_vectors() -> None:
    task = Regression()
    assert task.answer(torch.tensor([[1.0], [2.0]])).labels == [1.0, 2.0]
    assert task.answer(torch.tensor([[1.0, 2.0]])).labels == [[1.0, 2.0]]
    assert task.answer(torch.zeros(1, 1)).probabilities is None
    losses = task.losses(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]))
    assert losses.tolist() == [2.5]
    assert task.unknown([1.0], 1) == []
    assert task.groups(torch.zeros(3, 2)).tolist() == [0, 0, 0]
