"""Uniform sampling without replacement: every remembered row is equally likely."""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto.protocols import Left, Pool
from tenuto.randomness import choose
from tenuto.types import State

_STEPS = 256
_NONE: tuple[tuple[int, int, int], tuple[Tensor, ...]] = ((0, 0, 0), ())


class Uniform:
    """Uniform draws.

    >>> Uniform(0).rows(2, Pool(5, torch.zeros(5)), step=0, draw="replay")[0].tolist()
    [1, 2]
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn: dict[str, tuple[tuple[int, int, int], tuple[Tensor, ...]]] = {}

    def rows(self, n: int, pool: Pool, step: int, draw: str) -> tuple[Tensor, Tensor | None]:
        """n distinct slots.

        The draws of coming steps are made together while the pool's size stands still: they are
        pure functions of the step, and small array operations between large products are slow.
        """
        first = step - step % _STEPS
        (start, rows, size), drawn = self._drawn.get(draw, _NONE)
        if (rows, size) != (n, pool.count) or not start <= step < start + len(drawn):
            steady = (rows, size) == (n, pool.count)
            start, steps = (first, _STEPS) if steady else (step, 1)
            drawn = torch.from_numpy(choose(self._seed, draw, start, n, pool.count, steps)).unbind()
            self._drawn[draw] = ((start, n, pool.count), drawn)
        return drawn[step - start], None

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


def policy(seed: int) -> Uniform:
    """Uniform sampling."""
    return Uniform(seed)
