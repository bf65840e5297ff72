"""Domains one after another, on a tiny encoder; and an interrupted command goes on from what is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.clinc_lora import Run, Way, line, run
from benchmarks.contexts import Rows
from benchmarks.runs import Runs
from tenuto.models import MLP
from tenuto.models.encoder import Encoder
from tests import encoder

LETTERS = "abcd"


def rows() -> Rows:
    """Four classes in two domains."""
    parts = [encoder.rows(LETTERS * count, seed) for count, seed in ((24, 1), (10, 2))]
    inputs = [part.inputs for part in parts]
    labels = [torch.tensor([LETTERS.index(letter) for letter in part.targets]) for part in parts]
    return Rows(
        inputs=inputs[0], labels=labels[0], test_inputs=inputs[1], test_labels=labels[1], per=2, held=None
    )


CONFIG = {"learning_rate": 0.06, "batch_size": 4, "memory_size": 16}


def test_domains_come_one_after_another_and_unknown_ones_are_never_right() -> None:
    found = run(Way(method="er", config=CONFIG), rows(), 0, encoder.model())
    assert len(found.matrix) == 2
    assert found.matrix[0][1] == 0.0
    assert found.matrix[0][0] > 0.7
    assert found.average > 0.6
    assert found.forgetting == pytest.approx(max(found.matrix[0][0], found.matrix[1][0]) - found.matrix[1][0])


def test_joint_training_has_one_moment_and_forgets_nothing() -> None:
    found = run(Way(method="naive", config=CONFIG, epochs=2), rows(), 0, encoder.model())
    assert len(found.matrix) == 1
    assert found.forgetting is None
    assert found.average > 0.6
    assert line("joint", [found])[3] == ""


def test_the_closed_form_learns_vectors_as_it_learns_tokens() -> None:
    """A frozen base reads a sentence once, and every seed learns what it read."""
    way, model, told = Way(method="slda", config=CONFIG, layers=()), Encoder(encoder.base(), blocks=2), rows()
    with torch.no_grad():
        parts = [model.embed(inputs.long()) for inputs in (told.inputs, told.test_inputs)]
    read = replace(told, inputs=parts[0], test_inputs=parts[1])
    found = run(way, told, 0, model)
    assert found.average > 0.6
    assert run(way, read, 0, MLP(2 * encoder.WIDTH, (), 0)).matrix == found.matrix


def test_an_interrupted_command_goes_on(tmp_path: Path) -> None:
    path, made = tmp_path / "runs.jsonl", []

    def make() -> dict[str, Any]:
        made.append(1)
        return {"matrix": [[0.5, 0.0], [0.25, 1.0]], "seconds": float(len(made)), "refused": 0}

    runs = Runs(path)
    first = runs.get({"method": "er", "seed": 0}, make)
    runs.get({"method": "er", "seed": 1}, make)
    path.write_bytes(path.read_bytes()[:-7])
    again = Runs(path)
    assert again.get({"method": "er", "seed": 0}, make) == first
    assert len(made) == 2
    third = again.get({"method": "er", "seed": 1}, make)
    assert third == {**first, "seconds": 3.0}
    assert Runs(path).get({"method": "er", "seed": 1}, make) == third
    assert again.get({"method": "er", "seed": 0, "how": "otherwise"}, make)["seconds"] == 4.0
    assert Runs(None).get({"method": "er", "seed": 0}, make)["seconds"] == 5.0
    said = line("er", [Run(**first), Run(**third)])
    assert said[1:4] == ["62.5 ± 0.0", "62.5", "25.0 ± 0.0"]
