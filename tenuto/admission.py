"""The door: rows are checked before anything is computed, and the head grows for new classes.

What was grown for rows whose update is then refused is taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tenuto import trees
from tenuto.errors import ExampleError
from tenuto.models import Body
from tenuto.models.inputs import tensor
from tenuto.protocols import Optimizer, Task
from tenuto.trees import Tree
from tenuto.types import Batch


def check_rows(batch: Batch, shape: tuple[int, ...] | None) -> Batch:
    """The batch with tensors for inputs and weights; refused where the counts or shapes do not agree."""
    inputs = tensor(batch.inputs)
    n, *form = inputs.shape or (0,)
    if not (n and form):
        raise ExampleError(f"a batch must be (rows, *shape) with at least one row; got {tuple(inputs.shape)}")
    if shape is not None and tuple(form) != shape:
        raise ExampleError(f"rows here are of shape {shape}, this batch's are {tuple(form)}; reshape them")
    _check_count("targets", batch.targets, n)
    if batch.domains is not None:
        _check_count("domains", batch.domains, n)
    if batch.principals is not None:
        _check_count("principals", batch.principals, n)
    weights = None if batch.weights is None else _weights(batch.weights, n)
    return Batch(inputs, batch.targets, weights, principals=batch.principals)


def admit(
    batch: Batch,
    body: Body,
    task: Task,
    optimizer: Optimizer,
    undo: list[Callable[[], None]],
    *,
    seed: int,
    fixed: bool,
    kept: torch.dtype | None = None,
) -> Batch:
    """Read the rows, encode the targets, and grow the head for new classes in row order.

    Args:
        undo: gains what takes back what is grown; called last first.
        kept: the dtype in which memory keeps rows; None while it keeps none.
    """
    inputs = _finite(body.settle(batch.inputs, kept))
    body.check(inputs)
    targets = _encode(batch.targets, body, task, optimizer, undo, seed=seed, fixed=fixed)
    if targets.dim() == 2 and targets.is_floating_point() and targets.shape[1] != body.columns:
        raise ExampleError(f"targets hold {targets.shape[1]} numbers, the model answers with {body.columns}")
    return Batch(inputs, targets, batch.weights, principals=batch.principals)


def restart(body: Body, origin: Tree, task: Task, optimizer: Optimizer, seed: int) -> None:
    """Go back to the initial weights, with the outputs the head has gained since."""
    width = body.width or 0
    body.load_state(origin)
    if body.width is not None and body.width < width:
        body.grow(list(task.classes[body.width :]), seed)
    optimizer.resize(body.params)
    optimizer.reset()


def _check_count(what: str, values: Any, n: int) -> None:
    try:
        count = len(values)
    except TypeError as error:
        raise ExampleError(f"{n} rows need {n} {what}, not {type(values).__name__}: {error}") from error
    if count != n:
        raise ExampleError(f"{n} rows with {count} {what}")


def _weights(values: Any, n: int) -> Tensor:
    try:
        weights = torch.as_tensor(values, dtype=torch.float32)
    except (TypeError, ValueError) as error:
        raise ExampleError(f"row weights must be {n} numbers: {error}") from error
    if weights.shape != (n,):
        raise ExampleError(f"{n} rows with weights of shape {tuple(weights.shape)}; give one number per row")
    if not bool((weights > 0).all() & weights.isfinite().all()):
        raise ExampleError("row weights must be finite and above 0")
    return weights


def _finite(inputs: Tensor) -> Tensor:
    """The rows, refused where a value is not finite, or so large that its square is not."""
    if inputs.is_floating_point() and not trees.squarable(inputs):
        for row, values in enumerate(inputs):
            if not trees.squarable(values):
                raise ExampleError(
                    f"row {row} of the batch holds NaN, infinity or a number beyond {trees.LARGEST:.0e}; "
                    f"drop, impute or scale it"
                )
    return inputs


def _encode(
    labels: Any,
    body: Body,
    task: Task,
    optimizer: Optimizer,
    undo: list[Callable[[], None]],
    *,
    seed: int,
    fixed: bool,
) -> Tensor:
    targets = task.encode(labels)
    if targets is not None:
        return targets
    known, width = len(task.classes), body.columns
    new = task.unknown(labels, width or 0)
    if width is not None and known + len(new) > width and (fixed or not body.grows):
        why = "use head='grow', or list it in classes" if body.grows else "give the model more outputs"
        raise ExampleError(
            f"label {new[width - known]!r} has no column: the head is fixed at {width} outputs; {why}"
        )
    undo.append(partial(task.shrink, known))
    task.grow(new)
    if width is not None and len(task.classes) > width:
        undo.append(partial(_shrink, body, optimizer, width))
        body.grow(list(task.classes[width:]), seed)
        optimizer.resize(body.params)
    return _encode(labels, body, task, optimizer, undo, seed=seed, fixed=fixed)


def _shrink(body: Body, optimizer: Optimizer, width: int) -> None:
    body.resize(width)
    optimizer.resize(body.params)
