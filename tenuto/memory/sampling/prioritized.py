"""Prioritized sampling (Schaul et al. 2016): rows that surprised are drawn more often.

    p_i = (|delta_i| + eps)^alpha / sum,   w_i = (N p_i)^-beta / max w

delta is the row's newest loss, refreshed after each replay; a new row enters with the largest
priority in memory, so that it is seen at least once soon. Rows are drawn with replacement.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenuto.memory.sums import Sums
from tenuto.protocols import Left, Pool
from tenuto.randomness import span, uniform
from tenuto.types import State

_STEPS = 64
_NONE: tuple[int, NDArray[np.float64]] = (0, np.zeros((0, 0)))


class Prioritized:
    """Proportional prioritization.

    >>> policy = Prioritized(0)
    >>> policy.added([0, 1, 2]); policy.seen(torch.arange(3), torch.tensor([0.0, 0.0, 9.0]))
    >>> rows, weights = policy.rows(6, Pool(3, torch.zeros(3)), step=0, draw="replay")
    >>> rows.tolist()
    [2, 2, 2, 2, 2, 2]
    """

    def __init__(
        self,
        seed: int,
        alpha: float = 0.6,
        beta: float = 0.4,
        eps: float = 1e-3,
        needs: frozenset[str] = frozenset({"losses"}),
    ) -> None:
        self.needs = needs
        self._seed = seed
        self._alpha, self._beta, self._eps = alpha, beta, eps
        self._sums = Sums()
        self._drawn: dict[str, tuple[int, NDArray[np.float64]]] = {}

    def rows(self, n: int, pool: Pool, step: int, draw: str) -> tuple[Tensor, Tensor | None]:
        """n slots and their importance weights (n,)."""
        sums = self._sums
        slots = sums.find(self._draws(n, step, draw))
        weights = (sums[slots] / sums.least) ** -self._beta
        return torch.from_numpy(slots), torch.from_numpy(weights.astype(np.float32))

    def added(self, slots: list[int]) -> None:
        """New rows enter with the largest priority in memory."""
        first, end = slots[0], slots[0] + len(slots)
        run = slots == list(range(first, end))
        self._sums.write(slice(first, end) if run else np.array(slots), self._sums.largest or 1.0)

    def evicted(self, left: Left) -> None:
        """The others keep their priorities."""
        self._sums.load(self._sums.priorities[left.stay])

    def seen(self, slots: Tensor, losses: Tensor) -> None:
        """Refresh the priorities of rows whose loss was just measured; one that is no number changes none."""
        where, delta = slots.numpy(), np.abs(losses.numpy(force=True), dtype=np.float64)
        if not np.maximum.reduce(delta, initial=0.0) < np.inf:
            known = np.isfinite(delta)
            where, delta = where[known], delta[known]
        if len(delta):
            self._sums.update(where, (delta + self._eps) ** self._alpha)

    def state(self) -> State:
        """The priorities."""
        return {"priorities": torch.from_numpy(self._sums.priorities)}

    def load_state(self, state: State) -> None:
        """Take saved priorities; what 0.1 saved ends in rows of priority 0 that were never there."""
        self._sums.load(np.trim_zeros(state["priorities"].numpy(), "b"))

    def _draws(self, n: int, step: int, draw: str) -> NDArray[np.float64]:
        """n draws in [0, 1); those of the coming steps are made together, being functions of the step."""
        start, drawn = self._drawn.get(draw, _NONE)
        if drawn.shape[1] != n or not start <= step < start + len(drawn):
            steady = drawn.shape[1] == n
            start, steps = (step - step % _STEPS, _STEPS) if steady else (step, 1)
            drawn = uniform(self._seed, draw, span(start, n, steps))
            self._drawn[draw] = (start, drawn)
        mine: NDArray[np.float64] = drawn[step - start]
        return mine


def policy(seed: int) -> Prioritized:
    """Prioritized sampling."""
    return Prioritized(seed)
