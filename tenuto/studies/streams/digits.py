"""MNIST's digits that turn, all of them alike: by leaps, or steadily once around. Batches of 10."""

from __future__ import annotations

import numpy as np
import torch

from tenuto.randomness import permutation, uniform
from tenuto.studies.papers.streams import CLASSES, Digits, turn
from tenuto.studies.streams.moving import Moving

ROWS, BATCH = 10_000, 10
LEAP, STEADY = 1000, 50
"""Rows between two leaps, and between two steps of a steady turn."""


def leaping(digits: Digits, seed: int) -> Moving:
    """Every 1,000 rows another angle, uniform in [0, 180) degrees."""
    angles = 180 * uniform(seed, "leaps", np.arange(ROWS // LEAP, dtype=np.uint64))
    stream = _turned(digits, seed, [float(angles[row // LEAP]) for row in range(0, ROWS, BATCH)])
    changes = tuple(range(LEAP, stream.rows, LEAP))
    return Moving(batches=stream.batches, classes=CLASSES, changes=changes)


def turning(digits: Digits, seed: int) -> Moving:
    """Every 50 rows a little further, once around over 10,000 rows."""
    return _turned(digits, seed, [360 * (row // STEADY * STEADY) / ROWS for row in range(0, ROWS, BATCH)])


def _turned(digits: Digits, seed: int, angles: list[float]) -> Moving:
    """Rows drawn without return from the training rows, a batch to an angle."""
    inputs, targets = digits.train
    order = torch.from_numpy(permutation(seed, "turning digits", len(targets)))
    batches = []
    for number, angle in enumerate(angles):
        chosen = order[number * BATCH : (number + 1) * BATCH]
        if not len(chosen):
            break
        batches.append((inputs[chosen][:, turn(angle)], targets[chosen]))
    return Moving(batches=batches, classes=CLASSES)
