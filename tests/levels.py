"""Synthetic streams with levels: the higher a row's level, the nearer it lies to the other class."""

from __future__ import annotations

import numpy as np

from tenuto import OnlineExample
from tenuto.randomness import choose, uniform


def levelled(rows: int, *, levels: int = 3, width: int = 4, seed: int = 0) -> list[OnlineExample]:
    """Rows of two classes whose levels 1..levels come in a random order; row i is a function of (seed, i).

    The first feature is the class's sign times 1 - (level - 1) / levels; uniform noise of +-1/2 lies on all.
    """
    counters = np.arange(rows, dtype=np.uint64)
    target = (uniform(seed, "target", counters) < 0.5).astype(int)
    level = 1 + (uniform(seed, "level", counters) * levels).astype(int)
    noise = uniform(seed, "noise", np.arange(rows * width, dtype=np.uint64)).reshape(rows, width) - 0.5
    noise[:, 0] += np.where(target == 1, 1.0, -1.0) * (1.0 - (level - 1) / levels)
    return [
        OnlineExample(input=noise[i].round(4).tolist(), target=int(target[i]), level=float(level[i]))
        for i in range(rows)
    ]


def missing(examples: list[OnlineExample], count: int, *, seed: int = 0) -> set[int]:
    """Which rows are to lose their level, for streams that know it only of some."""
    return set(choose(seed, "missing", 0, count, len(examples))[0].tolist())
