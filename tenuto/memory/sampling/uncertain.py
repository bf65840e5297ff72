"""Uncertain sampling: rows whose newest answer was undecided are drawn more often.

    H = -sum_c p_c ln p_c,   P(the row of rank r by H) ~ (r + 1)^(-1/T),   T = 2,   r = 0 the largest entropy

Ranks as in rank-based prioritization (Schaul et al. 2016), so no entropy is too large or too small. A row
whose answer is not known yet comes first. The entropy is that of the outputs of the step that replayed the
row: no pass of its own, no change of mode. Rows are drawn with replacement.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenuto.protocols import Left, Pool
from tenuto.randomness import span, uniform
from tenuto.types import State

TEMPERATURE = 2.0


class Uncertain:
    """Rank-based prioritization by predictive entropy.

    >>> policy = Uncertain(0)
    >>> policy.added([0, 1, 2]); policy.seen(torch.arange(3), torch.tensor([0.1, 0.6, 0.0]))
    >>> rows, _ = policy.rows(6, Pool(3, torch.zeros(3)), step=0, draw="replay")
    >>> rows.tolist()
    [1, 0, 0, 0, 1, 1]
    """

    def __init__(
        self,
        seed: int,
        temperature: float = TEMPERATURE,
        needs: frozenset[str] = frozenset({"entropy"}),
    ) -> None:
        self.needs = needs
        self._seed, self._temperature = seed, temperature
        self._entropy: NDArray[np.float64] = np.zeros(0)
        self._order: NDArray[np.int64] | None = None
        self._ends: NDArray[np.float64] = np.zeros(0)

    def rows(self, n: int, pool: Pool, step: int, draw: str) -> tuple[Tensor, Tensor | None]:
        """n slots."""
        if self._order is None or len(self._order) != pool.count:
            self._order = np.argsort(-self._entropy[: pool.count], kind="stable")
        if len(self._ends) != pool.count:
            self._ends = (np.arange(1, pool.count + 1) ** (-1 / self._temperature)).cumsum()
        u = uniform(self._seed, draw, span(step, n)[0])
        ranks = self._ends.searchsorted(u * self._ends[-1], side="right")
        return torch.from_numpy(self._order[np.minimum(ranks, pool.count - 1)]), None

    def added(self, slots: list[int]) -> None:
        """New rows come first."""
        top = max(slots) + 1
        if top > len(self._entropy):
            self._entropy = np.append(self._entropy, np.full(top - len(self._entropy), np.inf))
        self._entropy[slots] = np.inf
        self._order = None

    def evicted(self, left: Left) -> None:
        """The others keep their entropies."""
        self._entropy, self._order = self._entropy[left.stay], None

    def seen(self, slots: Tensor, losses: Tensor) -> None:
        """The entropies of the newest answers; one that is no number changes none."""
        where, entropies = slots.numpy(), losses.numpy(force=True).astype(np.float64)
        known = np.isfinite(entropies)
        self._entropy[where[known]] = entropies[known]
        self._order = None

    def state(self) -> State:
        """The entropies."""
        return {"entropy": torch.from_numpy(self._entropy)}

    def load_state(self, state: State) -> None:
        """Take saved entropies."""
        self._entropy, self._order = state["entropy"].numpy().copy(), None


def policy(seed: int) -> Uncertain:
    """Uncertain rows first."""
    return Uncertain(seed)
