"""From what people hand in to what a model reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tenuto import OnlineExample
from tenuto.errors import ExampleError
from tenuto.models.inputs import prepare, reads_integers, settle, stack, tensor

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("values", "dtype", "shape"),
    [
        ([1, 2], torch.int64, (2,)),
        ([1.0, 2], torch.float32, (2,)),
        ([[True], [False]], torch.bool, (2, 1)),
        (np.ones((2, 3)), torch.float64, (2, 3)),
        (np.ones((2, 3), np.float32)[:, ::-1], torch.float32, (2, 3)),
        (np.ones((2, 3), np.float32).T, torch.float32, (3, 2)),
        (np.uint8(3), torch.uint8, ()),
        (np.frombuffer(b"\x01\x02", np.uint8), torch.uint8, (2,)),
        ([np.ones(3, np.float32), np.zeros(3, np.float32)], torch.float32, (2, 3)),
        ((torch.ones(3), torch.zeros(3)), torch.float32, (2, 3)),
        (torch.ones(2, dtype=torch.float16), torch.float16, (2,)),
        ([], torch.float32, (0,)),
    ],
)
def test_array_likes_keep_their_dtype(values: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    found = tensor(values)
    assert found.dtype == dtype
    assert tuple(found.shape) == shape
    if shape and shape[0]:
        assert found.tolist() == np.array([np.asarray(v) for v in values]).tolist()


def test_an_array_that_may_not_be_written_is_copied() -> None:
    rows = np.ones((2, 3))
    rows.flags.writeable = False
    found = tensor(rows)
    found.zero_()
    assert rows.sum() == 6


@pytest.mark.parametrize(
    "values",
    ["text", ["a", "b"], [[1.0], [1.0, 2.0]], [None, 1.0], None, {"a": 1}, slice(1), np.array(["a"]),
     np.array([None]), [np.ones(2), np.ones(3)], [torch.ones(2), torch.ones(3)]],
    ids=repr,
)  # fmt: skip
def test_what_is_no_block_of_numbers_is_refused(values: Any) -> None:
    with pytest.raises(ExampleError, match="rows must be numbers of one shape"):
        tensor(values)


def test_examples_side_by_side() -> None:
    batch = stack(
        [
            OnlineExample(input=[0.0, 1.0], target="a", weight=2.0, domain="x"),
            OnlineExample(input=np.array([2.0, 3.0], np.float32), target="b"),
        ]
    )
    assert batch.inputs.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert batch.targets == ["a", "b"]
    assert batch.weights is not None
    assert batch.weights.tolist() == [2.0, 1.0]
    assert batch.domains == ["x", None]
    plain = stack([OnlineExample(input=[0.0], target=1)])
    assert plain.weights is None
    assert plain.domains is None


def test_examples_of_two_shapes_or_without_a_target_are_named() -> None:
    good = OnlineExample(input=[0.0, 1.0], target="a")
    with pytest.raises(ExampleError, match=r"row 1 is of shape \(3,\), row 0 of \(2,\)"):
        stack([good, OnlineExample(input=[0.0, 1.0, 2.0], target="a")])
    with pytest.raises(ExampleError, match="row 1 has no target"):
        stack([good, OnlineExample(input=[0.0, 1.0])])


def test_bytes_become_fractions_and_other_numbers_the_models_dtype() -> None:
    assert prepare(
        torch.tensor([0, 51, 255], dtype=torch.uint8), torch.float32, CPU
    ).tolist() == pytest.approx([0.0, 0.2, 1.0])
    for dtype in (torch.int32, torch.int64, torch.float64, torch.float16, torch.bool):
        found = prepare(torch.tensor([0, 1, 1]).to(dtype), torch.float32, CPU)
        assert found.dtype == torch.float32
        assert found.tolist() == [0.0, 1.0, 1.0]
    assert (
        prepare(torch.tensor([3], dtype=torch.uint8), torch.float32, CPU, integers=True).dtype == torch.int64
    )


def test_the_source_of_bytes_is_not_changed() -> None:
    rows = torch.tensor([200], dtype=torch.uint8)
    prepare(rows, torch.float32, CPU)
    assert rows.tolist() == [200]


@pytest.mark.parametrize(
    ("dtype", "kept", "integers", "settled"),
    [
        (torch.uint8, None, False, torch.uint8),
        (torch.uint8, None, True, torch.int64),
        (torch.uint8, torch.uint8, False, torch.uint8),
        (torch.uint8, torch.float32, False, torch.float32),
        (torch.int64, None, False, torch.float32),
        (torch.int64, torch.float32, False, torch.float32),
        (torch.int32, None, True, torch.int64),
        (torch.float64, None, False, torch.float32),
        (torch.float32, torch.uint8, False, None),
        (torch.int64, torch.uint8, False, None),
        (torch.float32, torch.int64, True, None),
        (torch.complex64, None, False, None),
    ],
)
def test_rows_settle_on_one_dtype(
    dtype: torch.dtype, kept: torch.dtype | None, integers: bool, settled: torch.dtype | None
) -> None:
    rows = torch.ones(2, 3, dtype=dtype)
    if settled is None:
        with pytest.raises(ExampleError, match="rows"):
            settle(rows, torch.float32, kept, integers=integers)
    else:
        assert settle(rows, torch.float32, kept, integers=integers).dtype == settled


def test_models_that_embed_read_integers() -> None:
    assert reads_integers(nn.Sequential(nn.Embedding(5, 2), nn.Flatten()))
    assert reads_integers(nn.Sequential(nn.EmbeddingBag(5, 2)))
    assert not reads_integers(nn.Linear(5, 2))
