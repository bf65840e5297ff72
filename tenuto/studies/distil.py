"""Distillation for compression: what a learner answers is taught to a smaller model (Hinton et al. 2015).

    L = labels * CE(student, label) + weight * T^2 KL(teacher || student), T = 2

over the rows that the learner remembers and any given ones, without a part that is held out. The student is a
multilayer perceptron, or any module, as one adapter where the teacher has many and a router. Of a language
model's answers the 20 likeliest tokens at each place are kept, at T = 1. The teacher is asked once and stays
as it is. Both are measured alike, on the rows held out: the student never saw any such input, but where they
come out of memory the teacher did, and `Distilled.seen` says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from tenuto import models, optimizers, trees
from tenuto.config import Limits, OnlineLearnerConfig, check
from tenuto.errors import ConfigError, NothingLearned
from tenuto.learner import Learner
from tenuto.methods.shared.anchors import likeliest
from tenuto.methods.shared.terms import Anchored, Distillation, Supervised
from tenuto.predictor import Predictor
from tenuto.protocols import Forward, Term
from tenuto.randomness import permutation, torch_draws
from tenuto.studies.pool import split, taken
from tenuto.trees import Tree
from tenuto.types import Batch, Draw

TOGETHER = 1024
"""Rows that a model is asked at once."""
WORDS = 4
"""Rows that a language model is asked at once: each token's answer is as wide as the vocabulary."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A model's size, and how it answers the rows held out.

    Args:
        parameters: numbers that were learned; of a learner with an adapter for each context, all of theirs.
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
    into: tuple[int, ...] | nn.Module,
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
    """Teach a smaller model what a learner answers; the learner is only asked.

    Args:
        into: hidden widths of a multilayer perceptron, or a module that reads the same rows and has an output
            for each of the learner's; it is taught in place.
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
    pool, asked = split(teacher, rows, test, seed)
    config = OnlineLearnerConfig(
        seed=seed,
        task=teacher.config.task,
        classes=tuple(teacher.task.classes) or None,
        head="fixed",
        hidden=(64,) if isinstance(into, nn.Module) else into,
        optimizer="adamw",
        learning_rate=learning_rate,
        batch_size=batch_size,
    )
    columns = len(config.classes or ()) or pool.targets.shape[1]
    student = _student(into, pool, config, columns)
    _teach(
        student,
        _answers(teacher, pool, columns),
        pool,
        (Supervised(weight=labels), Distillation(weight, temperature), Anchored("teacher", weight)),
        epochs,
    )
    shape = tuple(pool.inputs.shape[1:])
    kind = type(into).__qualname__ if isinstance(into, nn.Module) else f"mlp:{'-'.join(map(str, into))}"
    file, whole = packed(student, shape=shape, model=kind), packed(teacher, shape=shape, model="teacher")
    before, theirs = _measured(teacher, asked, columns, len(whole))
    after, mine = _measured(student, asked, columns, len(file))
    alike = sum(one == other for one, other in zip(mine, theirs, strict=True)) / len(mine)
    return Distilled(
        student=student,
        file=file,
        before=before,
        after=after,
        agreement=alike if teacher.task.categorical else None,
        rows=len(pool),
        held=len(asked),
        seen=test is None,
    )


def _student(
    into: tuple[int, ...] | nn.Module, pool: Batch, config: OnlineLearnerConfig, columns: int
) -> Predictor:
    """The model to teach. Raises ConfigError where it has not an output for each of the teacher's."""
    if isinstance(into, nn.Module):
        student = Predictor(into, config)
        student.body.check(pool.inputs[:2])
        if config.task != "language" and student.body.columns != columns:
            raise ConfigError(
                f"the student has {student.body.columns} outputs, its teacher {columns}: give it as many"
            )
        return student
    with torch_draws(config.seed, "distil", 0):
        module = models.default(tuple(pool.inputs.shape[1:]), into, columns)
    student = Predictor(module, config)
    module.standardize(student.body.read(pool.inputs).flatten(1))
    module.standardize.eval()
    return student


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


def _asked(predictor: Predictor, rows: Batch, columns: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs (k, columns) in evaluation mode on the CPU, and targets (k,), some rows at a time."""
    together = WORDS if predictor.config.task == "language" else TOGETHER
    for inputs, targets in zip(
        torch.split(rows.inputs, together), torch.split(rows.targets, together), strict=True
    ):
        outputs = predictor.outputs(inputs).cpu().float()
        yield (outputs[:, :columns] if outputs.dim() == 2 else outputs), targets


def _answers(teacher: Learner, rows: Batch, columns: int) -> Tree:
    """What is kept of the teacher's outputs: all of them, or of sequences the likeliest tokens."""
    asked = (outputs for outputs, _ in _asked(teacher, rows, columns))
    if teacher.config.task != "language":
        return {"outputs": torch.cat(list(asked))}
    found = [likeliest(outputs, rows.targets.shape[1]) for outputs in asked]
    which, chances = (torch.cat(parts) for parts in zip(*found, strict=True))
    return {"likeliest": which, "chances": chances, "targets": rows.targets}


def _teach(student: Predictor, answers: Tree, pool: Batch, terms: tuple[Term, ...], epochs: int) -> None:
    """Epochs of AdamW over the rows, with what is kept of the teacher's outputs for them."""
    body, config = student.body, student.config
    optimizer = optimizers.make(config)
    parts, step = math.ceil(len(pool) / config.batch_size), 0
    for epoch in range(epochs):
        order = torch.from_numpy(permutation(config.seed, f"distil:{epoch}", len(pool)))
        for which in order.tensor_split(parts):
            optimizer.learning_rate = (
                config.learning_rate * (1 + math.cos(math.pi * step / (epochs * parts))) / 2
            )
            with torch_draws(config.seed, "distil:forward", step):
                forward = _forward(
                    student, taken(pool, which), {name: one[which] for name, one in answers.items()}
                )
            losses = [loss for term in terms if (loss := term(forward)) is not None]
            grads = torch.autograd.grad(torch.stack(losses).sum(), list(body.params.values()))
            update = optimizer.propose(body.params, dict(zip(body.params, grads, strict=True)))
            with torch.no_grad():
                optimizer.commit(body.params, update)
            step += 1


def _forward(student: Predictor, rows: Batch, answers: Tree) -> Forward:
    """The student's outputs beside the teacher's: whole ones, or the likeliest tokens as a draw."""
    outputs = student.body.module(student.body.read(rows.inputs))
    if "outputs" in answers:
        return Forward(rows, outputs, student.task, answers["outputs"])
    draw = Draw(slice(0, len(rows)), torch.arange(len(rows)), answers)
    return Forward(
        Batch(rows.inputs, rows.targets, rows.weights, draws={"teacher": draw}), outputs, student.task
    )


def _measured(predictor: Predictor, asked: Batch, columns: int, size: int) -> tuple[Measured, list[Any]]:
    """How a model answers, in figures, and its answers themselves."""
    right, labels, squares = 0, [], 0.0
    for outputs, targets in _asked(predictor, asked, columns):
        told = predictor.task.right(outputs, targets)
        right += sum(told or ())
        labels += predictor.task.answer(outputs).labels
        squares += float((outputs - targets).square().sum()) if told is None else 0.0
    numbers = sum(parameter.numel() for parameter in predictor.body.params.values())
    if isinstance(predictor, Learner) and predictor.adapters is not None:
        numbers = predictor.adapters.numbers
    answers = predictor.config.task != "regression"
    return Measured(
        parameters=numbers,
        bytes=size,
        accuracy=right / len(asked) if answers else None,
        squared_error=None if answers else squares / asked.targets.numel(),
    ), labels
