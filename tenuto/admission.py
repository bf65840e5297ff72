"""The door: rows are checked before anything is computed, and the head grows for new classes.

What was grown for rows whose update is then refused is taken back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from torch import Tensor

from tenuto.errors import ExampleError
from tenuto.models import Body
from tenuto.models.inputs import tensor
from tenuto.protocols import Optimizer, Task
from tenuto.types import Batch


class Admitted(Struct, frozen=True, eq=False):
    """Rows that may be learned: targets encoded, and how to take back what was grown for them."""

    rows: Batch
    undo: Callable[[], None]

    def undoing(self, undo: Callable[[], None]) -> Admitted:
        """The same rows with what was grown for them."""
        return Admitted(self.rows, undo)


def check_rows(batch: Batch, shape: tuple[int, ...] | None) -> Tensor:
    """The inputs (n, *shape) of a batch, refused where a row's shape or values cannot be learned."""
    inputs = tensor(batch.inputs)
    if inputs.dim() < 2 or not len(inputs):
        raise ExampleError(f"a batch must be (rows, *shape) with at least one row; got {tuple(inputs.shape)}")
    if shape is not None and inputs.shape[1:] != shape:
        raise ExampleError(
            f"rows here are of shape {shape}, this batch's are {tuple(inputs.shape[1:])}; reshape them"
        )
    if len(batch.targets) != len(inputs):
        raise ExampleError(f"{len(inputs)} rows with {len(batch.targets)} targets")
    if inputs.is_floating_point() and not math.isfinite(inputs.sum().item()):
        finite = inputs.flatten(1).isfinite().all(1)
        if not bool(finite.all()):
            raise ExampleError(
                f"row {int((~finite).nonzero()[0])} of the batch holds NaN or infinity; drop or impute it"
            )
    if batch.weights is not None and not bool((batch.weights > 0).all() & batch.weights.isfinite().all()):
        raise ExampleError("row weights must be finite and above 0")
    return inputs


def admit(
    batch: Batch, inputs: Tensor, body: Body, task: Task, optimizer: Optimizer, *, seed: int, fixed: bool
) -> Admitted:
    """Encode the targets, growing the head for new classes in row order."""
    body.check(len(inputs))
    undo, targets = _nothing, task.encode(batch.targets)
    if targets is None:
        undo = _grow(task.unknown(batch.targets), body, task, optimizer, seed=seed, fixed=fixed)
        return admit(batch, inputs, body, task, optimizer, seed=seed, fixed=fixed).undoing(undo)
    if targets.dim() == 2 and body.width is not None and targets.shape[1] != body.width:
        raise ExampleError(f"targets hold {targets.shape[1]} numbers, the model answers with {body.width}")
    return Admitted(Batch(inputs, targets, batch.weights), undo)


def _grow(
    new: list[Any], body: Body, task: Task, optimizer: Optimizer, *, seed: int, fixed: bool
) -> Callable[[], None]:
    known, width = len(task.classes), body.width
    if width is not None and fixed and known + len(new) > width:
        raise ExampleError(
            f"label {new[width - known]!r} has no column: the head is fixed at {width} outputs; "
            f"use head='grow', or list it in classes"
        )
    task.grow(new)
    if width is not None and len(task.classes) > width:
        body.grow(list(task.classes[width:]), seed)
        optimizer.resize(body.params)

    def undo() -> None:
        task.shrink(known)
        if width is not None and body.width != width:
            body.resize(width)
            optimizer.resize(body.params)

    return undo


def _nothing() -> None:
    """Nothing was grown."""
