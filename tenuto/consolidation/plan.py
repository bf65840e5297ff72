"""The sleep plan: what a consolidation does, in this order, and how much of it.

    rehearse -> learn recent rows with replayed ones -> close the context -> score memory anew -> level it

The first is the method's own. It is pure: a function of the settings and of how many rows are held, so that
the same learner sleeps the same sleep. Nothing that is recent is dropped by it, and every recent row is
learned as often as any other, give or take one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from tenuto.config import OnlineLearnerConfig
from tenuto.randomness import permutation

MOST = 20
"""Times that one sleep learns a row at most, so that a few rows are not learned by heart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How a learner sleeps.

    Args:
        sleeps: is anything done beside rehearsing and closing the context?
        updates: updates to be made on recent and replayed rows.
        recent: recent rows in each of them.
        ratio: replayed / all rows of each of them.
        distil: weight of the answers before the sleep; 0: they do not hold.
        closes: do the method's parts close their context, and measure what matters?
    """

    sleeps: bool
    updates: int
    recent: int
    ratio: float
    distil: float
    closes: bool


def plan(
    config: OnlineLearnerConfig, *, number: int, recent: int, replays: bool, rehearses: bool = False
) -> Plan:
    """The plan of one consolidation.

    Args:
        number: consolidations before this one.
        recent: recent rows that are held.
        replays: does the method draw from memory beside them?
        rehearses: does it pass over memory by itself? It then makes no updates of another kind.

    >>> sleep = plan(OnlineLearnerConfig(sleep_updates=100), number=0, recent=80, replays=True)
    >>> sleep.updates, sleep.recent, sleep.ratio
    (100, 5, 0.75)
    >>> plan(OnlineLearnerConfig(sleep_updates=100), number=0, recent=3, replays=True).updates
    12
    """
    share = config.sleep_recent if replays else 1.0
    each = ceil(2 * config.batch_size * share)
    updates = 0 if rehearses else min(config.sleep_updates, ceil(MOST * recent / each))
    return Plan(
        sleeps=config.sleep_updates > 0,
        updates=updates,
        recent=each,
        ratio=1 - share,
        distil=config.sleep_distil,
        closes=(number + 1) % config.refresh_every == 0,
    )


def mixed(plan: Plan, *, seed: int, number: int, recent: int) -> Iterator[NDArray[np.int64]]:
    """Which of the recent rows each update learns: all of them in a keyed order, then all in another.

    >>> config = OnlineLearnerConfig(sleep_updates=3, sleep_recent=0.5, batch_size=2)
    >>> sleep = plan(config, number=0, recent=3, replays=True)
    >>> [rows.tolist() for rows in mixed(sleep, seed=0, number=0, recent=3)]
    [[2, 0], [1, 0], [2, 1]]
    """
    ahead: NDArray[np.int64] = np.zeros(0, np.int64)
    turn = 0
    for _ in range(plan.updates):
        while len(ahead) < plan.recent:
            ahead = np.append(ahead, permutation(seed, f"sleep:{number}:{turn}", recent))
            turn += 1
        yield ahead[: plan.recent]
        ahead = ahead[plan.recent :]
