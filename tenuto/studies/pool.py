"""The rows to distil from: what a learner remembers and what is given, without what is held out."""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto import trees
from tenuto.admission import check_rows
from tenuto.errors import ConfigError, ExampleError
from tenuto.learner import Learner
from tenuto.randomness import permutation
from tenuto.types import Batch

HELD_OUT = 5
"""One row of so many is held out where no rows to test on are given."""


def split(teacher: Learner, rows: Batch | None, test: Batch | None, seed: int) -> tuple[Batch, Batch]:
    """The rows to learn, and those held out."""
    given = [] if rows is None else [_told(teacher, rows)]
    if teacher.memory is not None and len(teacher.memory):
        columns = teacher.memory.table.get(torch.arange(len(teacher.memory)))
        given.append(Batch(columns["inputs"], columns["targets"], columns.get("weights")))
    if not given:
        raise ConfigError(f"method {teacher.recipe.name!r} remembers no rows: give some to distil from")
    weights = [torch.ones(len(part)) if part.weights is None else part.weights for part in given]
    pool = Batch(
        torch.cat([part.inputs for part in given]),
        torch.cat([part.targets for part in given]),
        None if all(part.weights is None for part in given) else torch.cat(weights),
    )
    if test is not None:
        asked = _told(teacher, test)
        return _apart(pool, asked), asked
    if len(pool) < HELD_OUT:
        raise ConfigError(f"there are {len(pool)} rows to distil from; to hold one out takes {HELD_OUT}")
    order = torch.from_numpy(permutation(seed, "distil:held", len(pool)))
    cut = len(pool) // HELD_OUT
    asked = taken(pool, order[:cut])
    return _apart(taken(pool, order[cut:]), asked), asked


def _apart(pool: Batch, asked: Batch) -> Batch:
    """The rows whose inputs are not held out: a row that is remembered and given comes twice."""
    barred = set(_contents(asked.inputs))
    kept = [i for i, content in enumerate(_contents(pool.inputs)) if content not in barred]
    if not kept:
        raise ConfigError("every row to distil from is held out: give others to learn from, or to test on")
    return taken(pool, torch.tensor(kept))


def _contents(inputs: Tensor) -> list[bytes]:
    rows = inputs.cpu().contiguous().flatten(1).view(torch.uint8)
    return [row.tobytes() for row in rows.numpy()]


def _told(teacher: Learner, rows: Batch) -> Batch:
    """Given rows as the teacher's memory would keep them."""
    body, memory = teacher.body, teacher.memory
    checked = check_rows(rows, teacher.shape)
    inputs = body.settle(checked.inputs, None if memory is None else memory.dtype)
    if inputs.is_floating_point() and not trees.squarable(inputs):
        raise ExampleError("a row to distil from holds NaN, infinity or a number too large")
    targets = teacher.task.encode(checked.targets)
    if targets is None:
        known = ", ".join(map(repr, teacher.task.classes[:5]))
        raise ExampleError(f"a row is of a class that the learner does not know; it knows {known}, ...")
    return Batch(inputs, targets, checked.weights)


def taken(batch: Batch, which: Tensor) -> Batch:
    weights = None if batch.weights is None else batch.weights[which]
    return Batch(batch.inputs[which], batch.targets[which], weights)
