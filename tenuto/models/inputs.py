"""From examples to a batch, and from a source's dtype to what a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tenuto.errors import ExampleError
from tenuto.types import Batch, OnlineExample


def tensor(values: Any) -> Tensor:
    """Array-like numbers as a tensor in their own dtype; lists of floats as float32.

    >>> tensor([1, 2]).dtype, tensor([1.0]).dtype
    (torch.int64, torch.float32)
    """
    if isinstance(values, Tensor):
        return values
    try:
        if isinstance(values, list | tuple) and values and isinstance(values[0], np.ndarray | Tensor):
            return torch.stack([tensor(row) for row in values])
        if isinstance(values, np.ndarray | np.generic):
            return torch.from_numpy(np.require(values, requirements=("C", "W")))
        return torch.tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ExampleError(f"rows must be numbers of one shape: {error}") from error


def question(inputs: Any, shape: tuple[int, ...] | None) -> Tensor:
    """Rows (n, *shape) to be answered; one row of that shape becomes a batch of it.

    >>> question([1.0, 2.0], (2,)).shape
    torch.Size([1, 2])
    """
    rows = tensor(inputs)
    if shape is not None and rows.shape == shape:
        rows = rows.unsqueeze(0)
    if shape is not None and rows.shape[1:] != shape:
        raise ExampleError(f"rows here are of shape {shape}; got {tuple(rows.shape[1:])}")
    return rows


def stack(examples: Sequence[OnlineExample]) -> Batch:
    """Examples side by side as a batch.

    >>> stack([OnlineExample(input=[0.0, 1.0], target="cat")]).inputs.shape
    torch.Size([1, 2])
    """
    inputs = [tensor(example.input) for example in examples]
    for i, row in enumerate(inputs):
        if row.shape != inputs[0].shape:
            raise ExampleError(f"row {i} is of shape {tuple(row.shape)}, row 0 of {tuple(inputs[0].shape)}")
        if examples[i].target is None:
            raise ExampleError(f"row {i} has no target")
    weighted = any(example.weight != 1.0 for example in examples)
    return Batch(
        inputs=torch.stack(inputs),
        targets=[example.target for example in examples],
        weights=torch.tensor([example.weight for example in examples]) if weighted else None,
        domains=[e.domain for e in examples] if any(e.domain is not None for e in examples) else None,
        principals=[e.principal for e in examples]
        if any(e.principal is not None for e in examples)
        else None,
    )


def reads_integers(module: nn.Module) -> bool:
    """Does the model look its inputs up in an embedding?"""
    return any(isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in module.modules())


def settle(
    inputs: Tensor, dtype: torch.dtype, kept: torch.dtype | None = None, *, integers: bool = False
) -> Tensor:
    """Rows in the dtype they are kept in: bytes stay bytes, other numbers become the model's.

    Args:
        inputs: (n, *shape) in the source's dtype.
        dtype: the model's.
        kept: the dtype of the rows kept already; None: there are none.
        integers: keep integers as int64, for a model that embeds them.

    >>> settle(torch.tensor([[1, 2]]), torch.float32).dtype
    torch.float32
    """
    if inputs.dtype == kept or (kept is None and inputs.dtype == torch.uint8 and not integers):
        return inputs
    if inputs.is_complex():
        raise ExampleError("rows are complex numbers; give the real and imaginary parts as features")
    settled = prepare(inputs, dtype, inputs.device, integers=integers)
    if kept is not None and settled.dtype != kept:
        raise ExampleError(
            f"rows here are kept as {kept}, this batch's are {inputs.dtype}; convert them, or learn them "
            f"with a learner of their own"
        )
    return settled


def prepare(inputs: Tensor, dtype: torch.dtype, device: torch.device, *, integers: bool = False) -> Tensor:
    """Rows as a model reads them: bytes become fractions of 255, other numbers the model's dtype.

    Args:
        inputs: (n, *shape) in the source's dtype.
        integers: keep integers as int64, for a model that embeds them.

    >>> prepare(torch.tensor([255], dtype=torch.uint8), torch.float32, torch.device("cpu")).tolist()
    [1.0]
    """
    if inputs.dtype == dtype and inputs.device == device:
        return inputs
    inputs = inputs.to(device)
    if integers and not inputs.is_floating_point():
        return inputs.long()
    if inputs.dtype == torch.uint8:
        return inputs.to(dtype).div_(255)
    return inputs.to(dtype)
