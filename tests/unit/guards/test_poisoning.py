"""Senders who contradict are found; those who err, bring news or send most of the stream are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks import guarded
from tenuto import Batch, Learner, OnlineLearnerConfig, trees
from tenuto.guards.poisoning import SENDERS, Poisoning, guard
from tenuto.types import Ruling

CLASSES = 4


def sure(answers: Tensor) -> Tensor:
    """Outputs that give each answer a probability of 0.99."""
    return 6.0 * torch.nn.functional.one_hot(answers, CLASSES).float()


def taught(rows: int = 400, senders: int = 4) -> Poisoning:
    """A guard that has seen honest rows of senders h0, h1 ... to a model that knows its classes."""
    found = guard()
    for start in range(0, rows, 10):
        labels = torch.arange(start, start + 10) % CLASSES
        verdict = found.inspect(sure(labels), labels, [f"h{i % senders}" for i in range(10)])
        assert verdict.keeps
    return found


def send(found: Poisoning, who: str, labels: list[int], answers: list[int]) -> list[bool]:
    """Send rows one by one; which of them were taken out."""
    verdicts = [
        found.inspect(sure(torch.tensor([a])), torch.tensor([b]), [who])
        for a, b in zip(answers, labels, strict=True)
    ]
    return [verdict.ruling is Ruling.EVICT for verdict in verdicts]


def test_a_sender_who_contradicts_is_watched_then_convicted_and_may_be_released() -> None:
    found = taught()
    out = send(found, "bad", [1] * 8, [0] * 8)
    assert out == [False] + [True] * 7
    assert found.convicted == ["bad"]
    assert send(found, "bad", [2], [2]) == [True]
    assert send(found, "h0", [2], [2]) == [False]
    found.release("bad")
    assert found.convicted == []
    assert send(found, "bad", [2], [2]) == [False]


def test_the_verdict_names_rows_and_the_convicted() -> None:
    found = taught()
    answers, labels = torch.tensor([0] * 8), torch.tensor([0, 1, 1, 1, 1, 1, 1, 0])
    verdict = found.inspect(sure(answers), labels, ["h1", *["bad"] * 6, "h2"])
    assert set(verdict.rows) <= set(range(1, 7))
    assert verdict.principals == ("bad",)
    assert "bad" in verdict.reason


def test_a_sender_who_errs_now_and_then_is_heard() -> None:
    found = taught()
    wrong = [number % 12 == 0 for number in range(600)]
    out = send(found, "h0", [1] * 600, [0 if w else 1 for w in wrong])
    assert not any(out)
    assert found.convicted == []


def test_a_new_class_is_not_judged() -> None:
    found = guard()
    for start in range(0, 400, 10):
        labels = torch.arange(start, start + 10) % 3
        found.inspect(sure(labels), labels, [f"h{i % 4}" for i in range(10)])
    assert not any(send(found, "new", [3] * 200, [0] * 200))


def test_without_others_nobody_is_judged() -> None:
    found = taught(senders=1)
    assert not any(send(found, "h0", [1] * 50, [0] * 50))


def test_who_sends_most_is_what_others_are_measured_by() -> None:
    found = taught()
    send(found, "most", [1] * 600, [1] * 600)
    assert not any(send(found, "most", [1] * 20, [0] * 20))


def test_rows_without_a_sender_are_kept() -> None:
    found = taught()
    labels = torch.ones(20, dtype=torch.int64)
    assert found.inspect(sure(labels * 0), labels, [None] * 20).keeps


def test_what_is_left_of_a_batch_counts_once() -> None:
    """Rows beside those taken out come again; they leave what they would have left alone."""
    one, other = taught(), taught()
    send(one, "bad", [1] * 8, [0] * 8)
    send(other, "bad", [1] * 8, [0] * 8)
    answers, labels = torch.tensor([0, 0, 2]), torch.tensor([1, 0, 2])
    verdict = one.inspect(sure(answers), labels, ["bad", "h0", "h1"])
    assert verdict.rows == (0,)
    assert one.inspect(sure(answers[1:]), labels[1:], ["h0", "h1"]).keeps
    other.inspect(sure(answers[:1]), labels[:1], ["bad"])
    other.inspect(sure(answers[1:]), labels[1:], ["h0", "h1"])
    assert trees.digest(one.state()) == trees.digest(other.state())


def test_senders_are_bounded_and_the_convicted_stay() -> None:
    found = taught()
    send(found, "bad", [1] * 8, [0] * 8)
    for start in range(0, SENDERS + 200, 100):
        labels = torch.ones(100, dtype=torch.int64)
        found.inspect(sure(labels), labels, [f"n{start + i}" for i in range(100)])
    assert len(found.state()["senders"]) == SENDERS
    assert found.convicted == ["bad"]


def test_a_saved_guard_goes_on_alike() -> None:
    one, other = taught(), guard()
    send(one, "bad", [1] * 3, [0] * 3)
    other.load_state(trees.detach(one.state()))
    assert send(one, "bad", [1] * 3, [0] * 3) == send(other, "bad", [1] * 3, [0] * 3)
    assert trees.digest(one.state()) == trees.digest(other.state())


def test_a_learner_hands_its_guard_the_senders() -> None:
    config = OnlineLearnerConfig(
        guard="poisoning", learning_rate=0.05, classes=tuple(range(10)), head="fixed"
    )
    student, rows = Learner(config=config), guarded.mixed(0, 1500)
    for part in range(0, 1500, 10):
        inputs, labels = rows.inputs[part : part + 10], rows.labels[part : part + 10]
        student.learn_batch(Batch(inputs, labels.tolist(), principals=[f"h{i % 3}" for i in range(10)]))
    flipped = ((rows.labels[:40] + 1) % 10).tolist()
    refused = [
        student.learn_batch(
            Batch(rows.inputs[i : i + 1], flipped[i : i + 1], principals=["bad"])
        ).verdict.rows
        for i in range(40)
    ]
    assert refused.count((0,)) > 30


@pytest.mark.parametrize("kind", ["flipped", "triggered"])
def test_the_stated_attack_in_small(kind: str) -> None:
    bare, found = (
        guarded.attack(1, kind, guarded=on, count=4000, poisoned=100, share=0.5) for on in (False, True)
    )
    assert found.found >= 0.95
    assert found.wrongly <= 0.001
    assert found.majority >= 0.99
    assert found.accuracy >= bare.accuracy - 0.01
    assert found.success < max(0.05, bare.success / 4)


def test_a_sender_of_most_of_a_stream_of_new_classes_is_heard() -> None:
    assert guarded.attack(2, "ascending", guarded=True, count=3000).majority >= 0.99
