"""Prioritized sampling (Schaul et al. 2016): rows that surprised are drawn more often.

    p_i = (|delta_i| + eps)^alpha / sum,   w_i = (N p_i)^-beta / max w

delta is the row's newest loss, refreshed after each replay; a new row enters with the largest
priority known, so that it is seen at least once soon. Rows are drawn with replacement.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenuto.protocols import Pool
from tenuto.randomness import span, uniform
from tenuto.types import State


class Prioritized:
    """Proportional prioritization.

    >>> policy = Prioritized(0)
    >>> policy.added([0, 1, 2]); policy.seen(torch.arange(3), torch.tensor([0.0, 0.0, 9.0]))
    >>> rows, weights = policy.rows(6, Pool(3, torch.zeros(3)), step=0, draw="replay")
    >>> rows.tolist()
    [2, 2, 2, 2, 2, 2]
    """

    needs: frozenset[str] = frozenset({"losses"})

    def __init__(self, seed: int, alpha: float = 0.6, beta: float = 0.4, eps: float = 1e-3) -> None:
        self._seed = seed
        self._alpha, self._beta, self._eps = alpha, beta, eps
        self._priorities: NDArray[np.float64] = np.zeros(0)

    def rows(self, n: int, pool: Pool, step: int, draw: str) -> tuple[Tensor, Tensor | None]:
        """n slots and their importance weights (n,)."""
        sums = np.cumsum(self._priorities[: pool.count])
        slots = np.searchsorted(sums, uniform(self._seed, draw, span(step, n)[0]) * sums[-1], side="right")
        slots = np.minimum(slots, pool.count - 1)
        chances = self._priorities[slots] / sums[-1]
        least = self._priorities[: pool.count].min() / sums[-1]
        weights = (chances / least) ** -self._beta
        return torch.from_numpy(slots), torch.from_numpy(weights.astype(np.float32))

    def added(self, slots: list[int]) -> None:
        """New rows enter with the largest priority known."""
        newest = self._priorities.max(initial=0.0) or 1.0
        top = max(slots) + 1
        if top > len(self._priorities):
            grown = np.zeros(max(2 * len(self._priorities), top, 64))
            grown[: len(self._priorities)] = self._priorities
            self._priorities = grown
        self._priorities[slots] = newest

    def seen(self, slots: Tensor, losses: Tensor) -> None:
        """Refresh the priorities of rows whose loss was just measured; NaN keeps the old one."""
        known = losses.isfinite()
        delta = losses[known].abs().double().numpy(force=True)
        self._priorities[slots[known].numpy()] = (delta + self._eps) ** self._alpha

    def state(self) -> State:
        """The priorities."""
        return {"priorities": torch.from_numpy(self._priorities)}

    def load_state(self, state: State) -> None:
        """Take saved priorities."""
        self._priorities = state["priorities"].numpy().copy()


def policy(seed: int) -> Prioritized:
    """Prioritized sampling."""
    return Prioritized(seed)
