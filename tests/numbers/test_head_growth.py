"""The head's new rows: drawn under their class's own key, from the law of a Linear layer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.models.head import Head
from tests.numbers.chances import LIKELY

LABELS: list[int | str] = ["ant", "bee", "cow", 7, -1, "7"]


def empty(inputs: int, *, bias: bool = True) -> Head:
    """A head without outputs."""
    head = Head(nn.Linear(inputs, 1, bias=bias))
    head.resize(0)
    return head


def grown(
    labels: list[int | str], seed: int = 0, inputs: int = 5, *, bias: bool = True
) -> dict[int | str, list[float]]:
    """The weights and bias each label started from."""
    head = empty(inputs, bias=bias)
    head.grow(labels, seed)
    weight, shift = head.layer.weight, head.layer.bias
    assert weight.shape == (len(labels), inputs)
    return {
        label: [*weight[i].tolist(), *([shift[i].item()] if bias else [])] for i, label in enumerate(labels)
    }


@given(st.permutations(LABELS), st.integers(1, 6))
def test_a_class_starts_the_same_whatever_its_place_and_company(order: list[int | str], count: int) -> None:
    whole = grown(LABELS)
    assert grown(order[:count]) == {label: whole[label] for label in order[:count]}


def test_one_at_a_time_is_all_at_once() -> None:
    head = empty(5)
    for label in LABELS:
        head.grow([label], seed=0)
    assert head.layer.weight.tolist() == [row[:5] for row in grown(LABELS).values()]
    assert head.width == len(LABELS) == head.layer.out_features


def test_other_classes_and_seeds_start_from_other_rows() -> None:
    rows = [tuple(row) for seed in (0, 1) for row in grown(LABELS, seed).values()]
    assert len(set(rows)) == 2 * len(LABELS)


def test_rows_are_drawn_as_a_linear_layers() -> None:
    rows = np.array(list(grown(list(range(400)), inputs=25).values()))
    bound = 1 / math.sqrt(25)
    assert np.abs(rows).max() < bound
    assert stats.kstest((rows.ravel() / bound + 1) / 2, "uniform").pvalue > LIKELY


def test_a_head_without_bias_stays_without() -> None:
    assert all(len(row) == 5 for row in grown(["ant"], bias=False).values())


def test_old_rows_are_untouched_and_trainable() -> None:
    layer = nn.Linear(4, 2)
    before = layer.weight.tolist()
    head = Head(nn.Sequential(layer))
    head.grow(["new"], seed=0)
    assert layer.weight[:2].tolist() == before
    assert layer.weight.requires_grad
    assert layer.bias.requires_grad


@pytest.mark.parametrize("order", [["ant", "bee", "cow"], ["cow", "ant", "bee"], ["bee", "cow", "ant"]])
def test_in_a_learner_a_class_starts_from_its_own_row(order: list[str]) -> None:
    """At a rate of zero the head is what the classes drew, in the order in which they came."""
    config = OnlineLearnerConfig(learning_rate=0.0, hidden=(5,))
    learner = Learner(config=config)
    for label in order:
        learner.learn_batch(Batch(torch.ones(1, 3), [label]))
    model = learner.model
    assert isinstance(model.head, nn.Linear)
    found = {
        label: [*w.tolist(), b.item()]
        for label, w, b in zip(order, model.head.weight, model.head.bias, strict=True)
    }
    assert found == grown(list(order))
