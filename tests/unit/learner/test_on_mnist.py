"""Handwritten digits, two classes at a time: what is kept, and as what it is kept."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch
from torch import Tensor

from tenuto import Batch, Learner, OnlineLearnerConfig
from tests.data import folder

CONFIG = OnlineLearnerConfig(learning_rate=0.03, memory_size=200, hidden=(64,))


def digits(name: str, rows: int) -> tuple[Tensor, Tensor]:
    """The first rows of MNIST: images (n, 28, 28) of bytes, and their digits."""
    mnist = folder("mnist")
    pixels = gzip.decompress((mnist / f"{name}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((mnist / f"{name}-labels-idx1-ubyte.gz").read_bytes())
    images = np.frombuffer(pixels, np.uint8, offset=16)[: rows * 784].reshape(rows, 28, 28)
    return torch.tensor(images), torch.tensor(np.frombuffer(labels, np.uint8, offset=8)[:rows])


@pytest.mark.data
def test_replay_keeps_digits_that_fine_tuning_forgets() -> None:
    images, labels = digits("train", 5000)
    kept = {}
    for method in ("naive", "er"):
        learner = Learner(config=CONFIG, method=method)
        for pair in range(5):
            rows = (labels // 2 == pair).nonzero().flatten()
            for start in range(0, len(rows) - 9, 10):
                part = rows[start : start + 10]
                learner.learn_batch(Batch(images[part], labels[part].tolist()))
        tests, truth = digits("t10k", 1000)
        answers = learner.predict(tests).labels
        kept[method] = float(np.mean(np.array(answers) == truth.numpy()))
    assert kept["naive"] < 0.25
    assert kept["er"] > 0.7
    assert learner.memory is not None
    assert learner.memory.table.columns["inputs"].dtype == torch.uint8
    assert sorted(learner.memory.groups()) == list(range(10))
