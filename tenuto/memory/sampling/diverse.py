"""Diverse sampling: rows of one draw lie far from one another (k-centre greedy; Sener & Savarese 2018).

    next = argmax_i min_{s chosen} |x_i - x_s|   among min(4 n, N) rows drawn uniformly

Candidates and the first chosen are drawn anew each step, so every row has a chance and the cost does not grow
with memory. Distances are between stored inputs. Rows of a draw are distinct.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto.errors import ConfigError
from tenuto.protocols import Left, Pool
from tenuto.randomness import choose, span, uniform
from tenuto.types import State

CANDIDATES = 4
"""Candidates for each row drawn."""


class Diverse:
    """k-centre greedy over a bounded random subset.

    >>> line = torch.tensor([[0.0], [0.1], [0.2], [9.0]])
    >>> pool = Pool(4, torch.zeros(4), lambda slots: line[slots])
    >>> 3 in Diverse(0).rows(2, pool, step=0, draw="replay")[0]
    True
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def rows(self, n: int, pool: Pool, step: int, draw: str) -> tuple[Tensor, Tensor | None]:
        """n distinct slots.

        Raises:
            ConfigError: the pool does not give the inputs to compare.
        """
        if pool.stored is None:
            raise ConfigError("sampling 'diverse' compares inputs: give `stored` with the pool")
        size = min(CANDIDATES * n, pool.count)
        candidates = torch.from_numpy(choose(self._seed, draw, step, size, pool.count)[0])
        if size == n:
            return candidates, None
        inputs = pool.stored(candidates)
        between = torch.cdist(inputs, inputs).nan_to_num_(0.0)
        first = int(uniform(self._seed, f"{draw} first", span(step, 1)[0])[0] * size)
        least = between[first].clone()
        least[first] = -1.0
        chosen = [first]
        for _ in range(n - 1):
            chosen.append(at := int(least.argmax()))
            torch.minimum(least, between[at], out=least)
            least[at] = -1.0
        return candidates[torch.tensor(chosen)], None

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


def policy(seed: int) -> Diverse:
    """Diverse draws."""
    return Diverse(seed)
