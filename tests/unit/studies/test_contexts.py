"""Class-incremental streams: what they hold, and that no context is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tenuto.studies.contexts import class_incremental, digits


def test_every_row_is_learned_or_tested_but_for_an_incomplete_batch() -> None:
    labels = np.arange(1000) % 6
    inputs = np.arange(1000, dtype=np.float32)[:, None]
    made = class_incremental(inputs, labels, seed=3, per_context=2, batch=10)
    learned = set(made.inputs[:, 0].tolist())
    tested = {row for inputs, _ in made.tests for row in inputs[:, 0].tolist()}
    assert not learned & tested
    assert len(learned) == len(made.ids) == len(set(made.ids)) == made.ends[-1]
    assert 1000 - 3 * 10 < len(learned) + len(tested) <= 1000
    start = 0
    for number, end in enumerate(made.ends):
        assert (end - start) % 10 == 0
        assert set(made.labels[start:end].tolist()) == {2 * number, 2 * number + 1}
        assert [*np.bincount(made.tests[number][1] - 2 * number)] == pytest.approx([42, 42], abs=1)
        start = end
    other = class_incremental(inputs, labels, seed=4, per_context=2, batch=10)
    assert made.ids != other.ids


def test_what_is_written_says_nothing_of_contexts(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    made = digits(0, batch=10)
    rows = [json.loads(line) for line in made.write(tmp_path / "all.jsonl").read_text().splitlines()]
    assert set().union(*rows) == {"id", "input", "target"}
    assert [row["id"] for row in rows] == [*made.ids]
    assert np.array_equal(np.array([row["input"] for row in rows], np.float32), made.inputs)
    fewer = made.write(tmp_path / "fewer.jsonl", without=made.ids[5]).read_text().splitlines()
    assert [json.loads(line)["id"] for line in fewer] == [id for id in made.ids if id != made.ids[5]]
