"""Balanced sampling: a class uniformly, then one of its rows uniformly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tenuto.protocols import Left, Pool
from tenuto.randomness import span, uniform
from tenuto.types import State


class Balanced:
    """Equal chances for every class, with replacement.

    >>> rows, _ = Balanced(0).rows(4, Pool(5, torch.tensor([0, 0, 0, 0, 1])), step=0, draw="replay")
    >>> rows.tolist()
    [0, 4, 4, 4]
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def rows(self, n: int, pool: Pool, step: int, draw: str) -> tuple[Tensor, Tensor | None]:
        """n slots."""
        groups = pool.groups[: pool.count].numpy()
        order = np.argsort(groups, kind="stable")
        _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
        u = uniform(self._seed, draw, span(step, 2 * n)[0])
        group = (u[:n] * len(sizes)).astype(np.int64)
        within = (u[n:] * sizes[group]).astype(np.int64)
        return torch.from_numpy(order[starts[group] + within]), None

    def added(self, slots: list[int]) -> None:
        """New rows need no note."""

    def evicted(self, left: Left) -> None:
        """Rows that went need none either."""

    def seen(self, slots: Tensor, losses: Tensor) -> None:
        """Losses do not matter here."""

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


def policy(seed: int) -> Balanced:
    """Balanced sampling."""
    return Balanced(seed)
