"""KL of vectors: histograms of a few random projections, each feature on the scale it was first seen at.

A vector x (D,) becomes z = S (x - mean) / deviation, S (d, D) of random signs / sqrt(D) (Achlioptas 2003)
with d <= 8; where there are no more than d features they are z themselves. The mean and deviation of each
feature are those of the first `window` vectors. Each number of z is compared as `kl` compares one, at a
d-th of its chance (Bonferroni). A divergence of all D features at once would be biased: a Gaussian one
reads D (D + 3) / (2 n) without drift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tenuto.config import Limits
from tenuto.drift.shared.readings import finite
from tenuto.drift.shared.windows import Plan, Windows
from tenuto.errors import ExampleError
from tenuto.randomness import uniform
from tenuto.reports import DriftReport
from tenuto.types import State

if TYPE_CHECKING:
    from torch import Tensor

Vector = NDArray[np.float64]


class Projected:
    """Windows of projections; the first vector says how wide the others are."""

    reads = "vectors"

    def __init__(self, plan: Plan, projections: int, seed: int) -> None:
        self._plan = plan
        self._projections = projections
        self._seed = seed
        self._seen = 0
        self._width = 0
        self._windows = Windows(plan)
        self._signs: Vector = np.zeros((0, 0))
        self._reset()

    def _reset(self) -> None:
        self._n = 0
        self._mean: Vector = np.zeros(self._width)
        self._squares: Vector = np.zeros(self._width)

    def update(self, value: float | Tensor | NDArray[Any]) -> DriftReport | None:
        """Take a vector (D,), or a number as a vector of one; every so many are a test."""
        x = finite(value)
        if self._width and len(x) != self._width:
            raise ExampleError(f"a vector of {len(x)} numbers came to a stream of {self._width}")
        if not self._width:
            self._width = len(x)
            self._reset()
        self._seen += 1
        if self._n < self._plan.window:
            self._n += 1
            gap = x - self._mean
            self._mean += gap / self._n
            self._squares += gap * (x - self._mean)
            return None
        found = self._windows.add(self.project(x).tolist())
        if found is None:
            return None
        self._reset()
        d = len(self._signs) or self._width
        return DriftReport(
            detector="projected",
            statistic=found.divergence.kl,
            threshold=found.divergence.threshold,
            p_value=min(1.0, d * found.divergence.p_value),
            window=(self._seen - self._plan.window, self._seen),
            reason=f"projection {found.column} of {d}: the newest {self._plan.window} vectors diverge from "
            f"the baseline by {found.divergence.kl:.4g} nats, at least {found.divergence.threshold:.4g}",
        )

    def project(self, x: Vector) -> Vector:
        """A vector (D,) as d numbers."""
        deviation = np.sqrt(self._squares / self._n)
        scaled = (x - self._mean) / np.where(deviation > 0, deviation, 1.0)
        if self._width <= self._projections:
            return scaled
        if self._signs.shape[1] != self._width:
            counters = np.arange(self._projections * self._width, dtype=np.uint64)
            signs = np.where(uniform(self._seed, "projected", counters) < 0.5, -1.0, 1.0)
            self._signs = signs.reshape(self._projections, self._width) / np.sqrt(self._width)
        return np.asarray(self._signs @ scaled)

    def state(self) -> State:
        """The features' scale, and the windows."""
        return {
            "seen": self._seen,
            "width": self._width,
            "n": self._n,
            "mean": torch.from_numpy(self._mean.copy()),
            "squares": torch.from_numpy(self._squares.copy()),
            "windows": self._windows.state(),
        }

    def load_state(self, state: State) -> None:
        """Take a saved scale and windows."""
        seen, width, n = state["seen"], state["width"], state["n"]
        mean, squares = state["mean"].numpy().copy(), state["squares"].numpy().copy()
        self._windows.load_state(state["windows"])
        self._seen, self._width, self._n, self._mean, self._squares = seen, width, n, mean, squares


def detector(
    rate: Annotated[float, Limits(low=1e-9, high=0.5, usual=(0.001, 0.1))] = 0.01,
    horizon: Annotated[int, Limits(low=1, usual=(1000, 1_000_000), unit="values")] = 10_000,
    projections: Annotated[int, Limits(low=1, high=8)] = 8,
    bins: Annotated[int, Limits(low=2, high=1000, usual=(5, 20), unit="bins")] = 10,
    baseline: Annotated[int, Limits(low=20, high=1_000_000, usual=(200, 5000), unit="values")] = 500,
    window: Annotated[int, Limits(low=20, high=1_000_000, usual=(100, 2000), unit="values")] = 200,
    every: Annotated[int, Limits(low=1, high=1_000_000, usual=(10, 200), unit="values")] = 50,
    seed: Annotated[int, Limits(low=0, high=2**63 - 1)] = 0,
) -> Projected:
    """KL on histograms of random projections, over vectors (D,).

    Args:
        rate: the chance of any false alarm within `horizon` vectors without drift.
        horizon: over how many vectors that chance is meant.
        projections: numbers that a vector becomes.
        bins: of each histogram, at most; fewer where values repeat.
        baseline: vectors that are compared with.
        window: the newest vectors, which are compared; and those whose scale is taken first.
        every: vectors between two tests.
        seed: key of the projections.

    >>> vectors = torch.randn(1400, 50, generator=torch.Generator().manual_seed(0))
    >>> vectors[1000:] *= 2
    >>> projections = detector()
    >>> reports = [projections.update(vector) for vector in vectors]
    >>> [report.window for report in reports if report]
    [(950, 1150)]
    """
    plan = Plan(
        rate=rate, horizon=horizon, bins=bins, baseline=baseline, window=window, every=every, before=window
    )
    return Projected(plan, projections, seed)
