"""Distillation for compression: what the student answers, and that the figures told are true."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor, nn

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.errors import ConfigError, ExampleError, NothingLearned
from tenuto.studies.distil import distil

CLASSES = ("ant", "bee", "cow")


def rows(n: int, seed: int = 0) -> Batch:
    """Three overlapping clouds in four dimensions."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=draws)
    centres = torch.tensor([[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]])
    inputs = centres[labels] + torch.randn(n, 4, generator=draws)
    return Batch(inputs, [CLASSES[label] for label in labels.tolist()])


def taught(n: int = 300, model: nn.Module | None = None, **settings: Any) -> Learner:
    """A learner that has seen such rows."""
    given: dict[str, Any] = {"learning_rate": 0.05, "hidden": (16,), "memory_size": 200, **settings}
    learner, stream = Learner(model, OnlineLearnerConfig(**given)), rows(n)
    for start in range(0, n, 10):
        learner.learn_batch(Batch(stream.inputs[start : start + 10], stream.targets[start : start + 10]))
    return learner


def accuracy(learner: Any, test: Batch) -> float:
    found = [a == b for a, b in zip(learner.predict(test.inputs).labels, test.targets, strict=True)]
    return sum(found) / len(found)


def centred(outputs: Tensor) -> Tensor:
    """Outputs up to what softmax does not see."""
    return outputs - outputs.mean(1, keepdim=True)


def test_a_linear_teacher_is_reproduced_by_a_linear_student() -> None:
    torch.manual_seed(0)
    teacher = taught(model=nn.Linear(4, 3), classes=CLASSES)
    made = distil(teacher, (), labels=0.0, epochs=200, learning_rate=0.1, test=rows(100, seed=9))
    asked = rows(100, seed=8).inputs / 4
    theirs, mine = centred(teacher.outputs(asked)), centred(made.student.outputs(asked))
    assert float((mine - theirs).abs().max()) < 0.01
    assert made.agreement == 1.0


def test_a_student_of_equal_width_answers_as_its_teacher_does() -> None:
    teacher, test = taught(), rows(400, seed=5)
    made = distil(teacher, (16,), rows=rows(600, seed=3), labels=0.0, epochs=100, test=test)
    assert made.after.parameters == made.before.parameters == 4 * 16 + 16 + 16 * 3 + 3
    assert made.agreement is not None
    assert made.agreement > 0.97
    before, after = (one.predict_proba(test.inputs) for one in (teacher, made.student))
    divergence = (before * (before / after).log()).sum(1).mean()
    assert float(divergence) < 0.01, "nats per row"


def test_the_figures_are_true() -> None:
    teacher, test = taught(hidden=(64, 64)), rows(500, seed=4)
    before = teacher.digest()
    made = distil(teacher, (4,), rows=rows(100, seed=3), test=test, epochs=10)
    assert teacher.digest() == before, "it is only asked"
    assert (made.before.accuracy, made.after.accuracy) == (
        accuracy(teacher, test),
        accuracy(made.student, test),
    )
    assert made.after.accuracy is not None
    assert made.after.accuracy > 0.7
    answers = zip(*(one.predict(test.inputs).labels for one in (teacher, made.student)), strict=True)
    assert made.agreement == sum(a == b for a, b in answers) / 500
    assert made.after.parameters == sum(p.numel() for p in made.student.model.parameters()) == 35
    assert made.before.parameters == sum(p.numel() for p in teacher.model.parameters())
    assert made.after.bytes == len(made.file) < made.before.bytes / 10
    assert (made.rows, made.held, made.seen) == (300, 500, False)


def test_rows_held_out_of_memory_are_told_as_seen_by_the_teacher() -> None:
    made = distil(taught(), (4,), epochs=1)
    assert (made.rows, made.held, made.seen) == (160, 40, True)


def test_no_input_is_both_learned_and_held_out() -> None:
    teacher, stream = taught(), rows(300)
    test = Batch(stream.inputs[:50], stream.targets[:50])
    assert teacher.memory is not None
    held = {row.numpy().tobytes() for row in test.inputs}
    mine = [row.numpy().tobytes() for row in teacher.memory.table.columns["inputs"]]
    twins = sum(row in held for row in mine)
    assert twins > 10
    assert distil(teacher, (4,), rows=stream, test=test, epochs=1).rows == 250 + 200 - twins
    made = distil(teacher, (4,), rows=stream, epochs=1)
    assert made.held == 100
    assert made.rows < 400, "of what is remembered and given neither copy is learned where one is held out"
    with pytest.raises(ConfigError, match="held out"):
        distil(teacher, (4,), test=stream)


def test_it_is_deterministic_and_its_file_is_a_model_to_begin_from(tmp_path: Any) -> None:
    teacher, state = taught(), torch.random.get_rng_state()
    first, second = distil(teacher, (8,), epochs=3), distil(teacher, (8,), epochs=3)
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.file == second.file != distil(teacher, (8,), epochs=3, seed=1).file
    (path := tmp_path / "small.safetensors").write_bytes(first.file)
    with safe_open(path, "pt") as opened:
        about = json.loads(opened.metadata()["tenuto"])
    classes = tuple(about["classes"])
    assert about == {
        "model": "mlp:8",
        "shape": [4],
        "task": "classification",
        "classes": teacher.task.classes,
    }
    assert load(first.file).keys() == first.student.body.state().keys()
    begun = Learner(config=OnlineLearnerConfig(hidden=(8,), classes=classes, learning_rate=0.0))
    begun.warm_start(path)
    test = rows(50, seed=6)
    begun.learn_batch(Batch(test.inputs[:1], test.targets[:1]))
    asked = zip(begun.predict(test.inputs).labels, first.student.predict(test.inputs).labels, strict=True)
    assert sum(a == b for a, b in asked) >= 49, "but for one row more that it standardises by"


def test_numbers_are_distilled_too() -> None:
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(500, 3, generator=draws)
    targets = inputs @ torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0]])
    torch.manual_seed(0)
    teacher = Learner(nn.Linear(3, 2), OnlineLearnerConfig(task="regression", learning_rate=0.05))
    for start in range(0, 400, 10):
        teacher.learn_batch(Batch(inputs[start : start + 10], targets[start : start + 10]))
    test = Batch(inputs[400:], targets[400:])
    made = distil(teacher, (), labels=0.0, learning_rate=0.1, test=test)
    assert made.before.accuracy is made.after.accuracy is made.agreement is None
    assert made.before.squared_error == pytest.approx(
        float((teacher.outputs(test.inputs) - test.targets).square().mean()), rel=1e-5
    )
    assert float((teacher.outputs(inputs) - made.student.outputs(inputs)).abs().max()) < 0.05


def test_bytes_and_row_weights_are_read_as_the_teacher_reads_them() -> None:
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (300, 5), generator=draws, dtype=torch.uint8)
    labels = [int(row[0] > 127) for row in inputs]
    teacher = Learner(config=OnlineLearnerConfig(hidden=(8,), learning_rate=0.1))
    for start in range(0, 300, 10):
        part = slice(start, start + 10)
        teacher.learn_batch(Batch(inputs[part], labels[part], torch.full((10,), 2.0)))
    made = distil(teacher, (8,), epochs=60)
    assert made.agreement is not None
    assert made.agreement > 0.9
    assert made.rows == 240


def test_what_cannot_be_taught_is_refused() -> None:
    for given in (None, rows(10)):
        with pytest.raises(NothingLearned):
            distil(Learner(), (4,), rows=given)
    forgetful = Learner(config=OnlineLearnerConfig(hidden=(4,)), method="naive")
    forgetful.learn_batch(rows(20))
    with pytest.raises(ConfigError, match="remembers no rows"):
        distil(forgetful, (4,))
    assert distil(forgetful, (4,), rows=rows(20), epochs=1).rows == 16
    with pytest.raises(ConfigError, match="4 rows"):
        distil(forgetful, (4,), rows=rows(4))
    teacher = taught(50)
    with pytest.raises(ExampleError, match="does not know"):
        distil(teacher, (4,), test=Batch(torch.zeros(1, 4), ["yak"]))
    with pytest.raises(ExampleError, match="shape"):
        distil(teacher, (4,), rows=Batch(torch.zeros(1, 3), ["ant"]))
    with pytest.raises(ExampleError, match="NaN"):
        distil(teacher, (4,), rows=Batch(torch.full((1, 4), math.nan), ["ant"]))
    for name, value in {"epochs": 0, "temperature": 0.0, "weight": -1.0, "learning_rate": -1.0}.items():
        with pytest.raises(ConfigError, match=name):
            distil(teacher, (4,), **{name: value})  # type: ignore[arg-type]
