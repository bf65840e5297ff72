"""Distillation for compression: what a learner answers is taught to a smaller model (Hinton et al. 2015).

    L = labels * CE(student, label) + weight * T^2 KL(teacher || student), T = 2

over the rows that the learner remembers and any given ones, without a part that is held out. The teacher is
asked once and stays as it is. Both are measured alike, on the rows held out: the student never saw any such
input, but where they come out of memory the teacher did, and `Distilled.seen` says so.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import torch
from safetensors.torch import save
from torch import Tensor

from tenuto import models, optimizers, trees
from tenuto.admission import check_rows
from tenuto.config import Limits, OnlineLearnerConfig, check
from tenuto.errors import ConfigError, ExampleError, NothingLearned
from tenuto.learner import Learner
from tenuto.methods.shared.terms import Distillation, Supervised
from tenuto.predictor import Predictor
from tenuto.protocols import Forward, Term
from tenuto.randomness import permutation, torch_draws
from tenuto.types import Batch

HELD_OUT = 5
"""One row of so many is held out where no rows to test on are given."""
TOGETHER = 1024
"""Rows that a model is asked at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A model's size, and how it answers the rows held out.

    Args:
        parameters: trainable numbers.
        bytes: length of its `.safetensors` file.
        accuracy: share of rows answered right; None under regression.
        squared_error: mean over rows and outputs; None under classification.

    >>> Measured(parameters=10, bytes=200, accuracy=0.5, squared_error=None).accuracy
    0.5
    """

    parameters: int
    bytes: int
    accuracy: float | None
    squared_error: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Distilled:
    """A student, beside its teacher.

    Args:
        student: answers rows (n, *shape).
        file: its `.safetensors` file.
        before, after: the teacher and the student, measured alike.
        agreement: share of held-out rows that both answer alike; None under regression.
        rows, held: how many rows the student learned, and how many were held out.
        seen: may the teacher have learned those that were held out?
    """

    student: Predictor
    file: bytes
    before: Measured
    after: Measured
    agreement: float | None
    rows: int
    held: int
    seen: bool


def distil(
    teacher: Learner,
    hidden: tuple[int, ...],
    *,
    rows: Batch | None = None,
    test: Batch | None = None,
    epochs: int = 100,
    weight: float = 1.0,
    labels: float = 1.0,
    temperature: float = 2.0,
    learning_rate: float = 0.01,
    batch_size: int = 32,
    seed: int = 0,
) -> Distilled:
    """Teach a multilayer perceptron with these widths what a learner answers; the learner is only asked.

    Args:
        rows: labelled rows (n, *shape) to learn from beside the remembered ones.
        test: labelled rows to measure on; None: one of five of all rows is held out.
        epochs: passes over the rows, each in an order of its own.
        weight: of the divergence from the teacher.
        labels: weight of the labels' own loss.
        temperature: softens both distributions.
        learning_rate: AdamW's first one; it falls to 0 along half a cosine.
        batch_size: rows per update.
        seed: key of the first weights and of every order.

    Raises:
        NothingLearned: there is no teacher yet.
        ConfigError: there are too few rows, or an option is out of bounds.
        ExampleError: a given row does not fit the teacher, or its label is unknown to it.

    >>> learner = Learner(config=OnlineLearnerConfig(learning_rate=0.1))
    >>> inputs = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    >>> for part in inputs.split(10):
    ...     _ = learner.learn_batch(Batch(part, [int(row[0] > row[1]) for row in part]))
    >>> made = distil(learner, (4,))
    >>> made.before.parameters, made.after.parameters, made.rows, made.held
    (67074, 22, 240, 60)
    >>> made.agreement > 0.9
    True
    """
    check("epochs", epochs, int, Limits(low=1))
    check("weight", weight, float, Limits(low=0.0))
    check("labels", labels, float, Limits(low=0.0))
    check("temperature", temperature, float, Limits(low=1e-3))
    if teacher.shape is None:
        raise NothingLearned("there is nothing to distil yet: the learner has seen no row")
    pool, asked = _split(teacher, rows, test, seed)
    config = OnlineLearnerConfig(
        seed=seed,
        task=teacher.config.task,
        classes=tuple(teacher.task.classes) or None,
        head="fixed",
        hidden=hidden,
        optimizer="adamw",
        learning_rate=learning_rate,
        batch_size=batch_size,
    )
    columns = len(config.classes or ()) or pool.targets.shape[1]
    shape = tuple(pool.inputs.shape[1:])
    with torch_draws(seed, "distil", 0):
        module = models.default(shape, hidden, columns)
    student = Predictor(module, config)
    module.standardize(student.body.read(pool.inputs).flatten(1))
    module.standardize.eval()
    _teach(
        student,
        _asked(teacher, pool.inputs, columns),
        pool,
        (Supervised(weight=labels), Distillation(weight, temperature)),
        epochs,
    )
    file = packed(student, shape=shape, model=f"mlp:{'-'.join(map(str, hidden))}")
    mine, theirs = _asked(student, asked.inputs, columns), _asked(teacher, asked.inputs, columns)
    whole = packed(teacher, shape=shape, model="teacher")
    return Distilled(
        student=student,
        file=file,
        before=_measured(teacher, theirs, asked.targets, len(whole)),
        after=_measured(student, mine, asked.targets, len(file)),
        agreement=float((mine.argmax(1) == theirs.argmax(1)).double().mean()) if config.classes else None,
        rows=len(pool),
        held=len(asked),
        seen=test is None,
    )


def packed(predictor: Predictor, *, shape: tuple[int, ...], model: str) -> bytes:
    """A model as a `.safetensors` file: every tensor by name, and what its inputs and outputs mean.

    >>> from safetensors.torch import load
    >>> predictor = Predictor(torch.nn.Linear(2, 2), OnlineLearnerConfig(classes=("cat", "dog")))
    >>> load(packed(predictor, shape=(2,), model="linear"))["bias"].shape
    torch.Size([2])
    """
    about = {
        "model": model,
        "shape": list(shape),
        "task": predictor.config.task,
        "classes": list(predictor.task.classes),
    }
    tensors = {name: tensor.cpu().contiguous() for name, tensor in trees.copy(predictor.body.state()).items()}
    data: bytes = save(tensors, {"tenuto": json.dumps(about, ensure_ascii=False)})
    return data


def _split(teacher: Learner, rows: Batch | None, test: Batch | None, seed: int) -> tuple[Batch, Batch]:
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
    asked = _taken(pool, order[:cut])
    return _apart(_taken(pool, order[cut:]), asked), asked


def _apart(pool: Batch, asked: Batch) -> Batch:
    """The rows whose inputs are not held out: a row that is remembered and given comes twice."""
    barred = set(_contents(asked.inputs))
    kept = [i for i, content in enumerate(_contents(pool.inputs)) if content not in barred]
    if not kept:
        raise ConfigError("every row to distil from is held out: give others to learn from, or to test on")
    return _taken(pool, torch.tensor(kept))


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


def _taken(batch: Batch, which: Tensor) -> Batch:
    weights = None if batch.weights is None else batch.weights[which]
    return Batch(batch.inputs[which], batch.targets[which], weights)


def _asked(predictor: Predictor, inputs: Tensor, columns: int) -> Tensor:
    """Outputs (n, columns) in evaluation mode, on the CPU."""
    found = [predictor.body.infer(part)[:, :columns].cpu() for part in torch.split(inputs, TOGETHER)]
    return torch.cat(found).float()


def _teach(student: Predictor, answers: Tensor, pool: Batch, terms: tuple[Term, ...], epochs: int) -> None:
    """Epochs of AdamW over the rows, with the teacher's outputs (n, c) for them."""
    body, config = student.body, student.config
    optimizer = optimizers.make(config)
    parts = math.ceil(len(pool) / config.batch_size)
    for epoch in range(epochs):
        order = torch.from_numpy(permutation(config.seed, f"distil:{epoch}", len(pool)))
        for number, which in enumerate(order.tensor_split(parts)):
            progress = (epoch * parts + number) / (epochs * parts)
            optimizer.learning_rate = config.learning_rate * (1 + math.cos(math.pi * progress)) / 2
            rows = _taken(pool, which)
            outputs = body.module(body.read(rows.inputs))
            forward = Forward(rows, outputs, student.task, answers[which])
            losses = [loss for term in terms if (loss := term(forward)) is not None]
            grads = torch.autograd.grad(torch.stack(losses).sum(), list(body.params.values()))
            update = optimizer.propose(body.params, dict(zip(body.params, grads, strict=True)))
            with torch.no_grad():
                optimizer.commit(body.params, update)


def _measured(predictor: Predictor, outputs: Tensor, targets: Tensor, size: int) -> Measured:
    right = predictor.task.right(outputs, targets)
    return Measured(
        parameters=sum(parameter.numel() for parameter in predictor.body.params.values()),
        bytes=size,
        accuracy=None if right is None else sum(right) / len(right),
        squared_error=float((outputs - targets).square().mean()) if right is None else None,
    )
