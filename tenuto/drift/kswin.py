"""KSWIN (Raab et al. 2020): the newest values of a window beside as many drawn from the older ones.

D = max |F_newest - F_drawn|, the two-sample Kolmogorov-Smirnov statistic; a drift where its exact p-value is
at most alpha and D > 0.1. The draw is keyed by (seed, values seen). Given the same draws, reports fall on the
same values as those of River 0.26 do; like there, the window is filled anew after one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from tenuto.config import Limits
from tenuto.drift.shared.readings import number
from tenuto.drift.shared.tails import kolmogorov_smirnov
from tenuto.errors import ConfigError, StateError
from tenuto.randomness import choose
from tenuto.reports import DriftReport
from tenuto.types import State

if TYPE_CHECKING:
    from torch import Tensor

_STEPS = 64
_LEAST = 0.1


class Kswin:
    """A sliding window, its newest part compared with draws from the rest."""

    reads = "numbers"

    def __init__(self, alpha: float, window_size: int, stat_size: int, seed: int) -> None:
        if window_size < 2 * stat_size:
            raise ConfigError(
                f"window_size is {window_size}; it must be at least twice stat_size, {stat_size}"
            )
        self._alpha = alpha
        self._size = window_size
        self._stat = stat_size
        self._seed = seed
        self._seen = 0
        self._filled = 0
        self._window = np.zeros(window_size)
        self._block: tuple[int, NDArray[np.int64]] = (-1, np.zeros((0, 0), dtype=np.int64))
        enough = (n for n in range(stat_size + 1) if n / stat_size > _LEAST)
        self._critical = next((n for n in enough if kolmogorov_smirnov(n, stat_size) <= alpha), stat_size + 1)

    def update(self, value: float | Tensor) -> DriftReport | None:
        """Take a number; every one is tested as soon as the window is full."""
        x = number(value)
        self._seen += 1
        if self._filled < self._size:
            self._window[self._filled] = x
            self._filled += 1
        else:
            self._window[:-1] = self._window[1:]
            self._window[-1] = x
        if self._filled < self._size:
            return None
        older, newer = self._window[self._drawn()], self._window[-self._stat :]
        steps = distance(older, newer)
        if steps < self._critical:
            return None
        rises = bool(newer.mean() > older.mean())
        self._filled = 0
        return DriftReport(
            detector="kswin",
            statistic=steps / self._stat,
            threshold=self._critical / self._stat,
            p_value=kolmogorov_smirnov(steps, self._stat),
            window=(self._seen - self._stat, self._seen),
            reason=f"the newest {self._stat} values lie otherwise than {self._stat} of those before",
            rises=rises,
        )

    def _drawn(self) -> NDArray[np.int64]:
        """Places of the drawn values: a pure function of the values seen, kept for a block of them."""
        block, place = divmod(self._seen, _STEPS)
        if self._block[0] != block:
            older = self._size - self._stat
            drawn = choose(self._seed, "kswin", block * _STEPS, self._stat, older, steps=_STEPS)
            self._block = (block, drawn)
        return np.asarray(self._block[1][place])

    def state(self) -> State:
        """The window; the draws are keyed by the values seen."""
        return {"seen": self._seen, "window": torch.from_numpy(self._window[: self._filled].copy())}

    def load_state(self, state: State) -> None:
        """Take a saved window."""
        seen, window = state["seen"], state["window"].numpy()
        if len(window) > self._size:
            raise StateError(f"a window of {len(window)} values was saved; this one takes {self._size}")
        self._window[: len(window)] = window
        self._seen, self._filled = seen, len(window)


def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> int:
    """n D of two samples (n,): how many values more of the one than of the other lie below some point.

    >>> distance(np.array([1.0, 2.0, 3.0]), np.array([2.5, 3.0, 4.0]))
    2
    """
    points = np.concatenate([one, other])
    below = np.searchsorted(np.sort(one), points, side="right")
    beside = np.searchsorted(np.sort(other), points, side="right")
    return int(np.abs(below - beside).max())


def detector(
    alpha: Annotated[float, Limits(low=0.0, high=1.0, usual=(0.0001, 0.01))] = 0.005,
    window_size: Annotated[int, Limits(low=2, high=100_000, usual=(100, 1000), unit="values")] = 100,
    stat_size: Annotated[int, Limits(low=1, high=1000, usual=(20, 100), unit="values")] = 30,
    seed: Annotated[int, Limits(low=0, high=2**63 - 1)] = 0,
) -> Kswin:
    """KSWIN over numbers of any scale.

    Args:
        alpha: the chance of a false alarm at each test; every value is a test.
        window_size: values kept.
        stat_size: the newest of them, and how many of the others they are compared with.
        seed: key of the draws.

    >>> windows = detector()
    >>> reports = [windows.update(float(i >= 500)) for i in range(600)]
    >>> [report.window for report in reports if report]
    [(484, 514)]
    """
    return Kswin(alpha, window_size, stat_size, seed)
