"""The comparison of memory policies: nothing but the policies differs, and its words follow its numbers."""

from __future__ import annotations

import pytest
import torch

from benchmarks.contexts import Rows
from benchmarks.memory_quality import ALONE, INSERTION, MEMORY, PLAIN, Run, even, learn, verdict
from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.parts import names


def rows(each: int, classes: int = 6, per: int = 3) -> Rows:
    """Corners with noise, the same to learn, to choose and to test on."""
    labels = torch.arange(classes).repeat_interleave(each)
    noise = torch.randn(len(labels), classes, generator=torch.Generator().manual_seed(1))
    inputs = 5 * torch.eye(classes)[labels] + noise
    return Rows(
        inputs=inputs, labels=labels, test_inputs=inputs, test_labels=labels, per=per, held=(inputs, labels)
    )


def test_while_memory_has_room_all_insertion_is_one() -> None:
    stream = rows(MEMORY // 6)
    first, *others = (learn(stream, (insertion, "uniform"), 100, count=None) for insertion in INSERTION)
    assert all(run == first for run in others)
    assert len(first.spread) == len(first.evenness) == 2
    assert first.accuracy > 1 / 6


def test_every_policy_is_compared() -> None:
    assert {*INSERTION, *(insertion for insertion, _ in ALONE), "append"} == set(
        names("tenuto.memory.insertion")
    )


def test_contexts_are_of_classes_in_turn() -> None:
    stream = rows(7)
    for number, part in enumerate(stream.contexts(100, 5)):
        assert len(part) == 5
        assert set(stream.labels[part].tolist()) <= set(range(3 * number, 3 * number + 3))
    averages, overall = stream.accuracies(torch.where(stream.labels < 3, stream.labels, 0))
    assert (averages, overall) == ([1.0, 0.0], 0.5)


def test_a_class_that_is_not_held_counts_as_uneven() -> None:
    config = OnlineLearnerConfig(head="fixed", classes=tuple(range(4)), memory_size=8)
    learner = Learner(config=config)
    learner.learn_batch(Batch(torch.eye(4), [0, 1, 0, 1]))
    assert even(learner, 2) == pytest.approx(1)
    assert even(learner, 4) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("gains", "word"), [((0.05, 0.06, 0.05), "; confirmed"), ((0.3, -0.2, 0.0), "not confirmed")]
)
def test_a_gain_is_confirmed_above_its_interval(gains: tuple[float, ...], word: str) -> None:
    def run(accuracy: float) -> Run:
        return Run(accuracy=accuracy, spread=[], evenness=[], refused=0)

    best = ("herding", "uniform")
    found = verdict(best, {PLAIN: [run(0.5) for _ in gains], best: [run(0.5 + gain) for gain in gains]})
    assert word in found
    assert "itself" in verdict(PLAIN, {PLAIN: [run(0.5)]})
