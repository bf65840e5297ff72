"""The router: whose rows are these? From a row's embedding to an adapter's name, or to none.

    d_k(x) = (x - mu_k)^T A^-1 (x - mu_k),   A = (1 - e) S / N + e tr(S / N) / d I

Each adapter has the groups (classes) that it learned, each group a mean, and all groups share one covariance
(streaming LDA, Hayes & Kanan 2020; Mahalanobis distances to tell strangers, Lee et al. 2018). An adapter's
score is log sum_k exp(-d_k / 2) over its groups, and the best one answers. A row is known where the least of
its distances is one that rows of the stream have too: the threshold is the conformal quantile (Vovk et al.
2005) of the distances of a uniform sample of them, each as it is without itself, so that one known row of
1 / `wrong` is told to be a stranger, whatever the embedding.

The invariant: embeddings do not move, and moments are exact up to rounding; so what was learned when, and in
batches of which size, does not matter, and nothing is forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from tenuto.adapters.embeddings import checked
from tenuto.errors import ConfigError
from tenuto.moments import Moments
from tenuto.randomness import uniform
from tenuto.types import State

TOGETHER = 32
"""Rows that are compared with all groups at once."""
_TINY = 1e-12
"""The least mean variance, for rows that are all the same."""


class Router:
    """Adapters by the rows they learned.

    Args:
        wrong: the share of known rows that may be taken for strangers; 0: none is.
        shrinkage: of the covariance towards the identity, e.
        sample: rows whose distances set the threshold.
        seed: key of the draw of that sample.

    >>> router = Router(wrong=0.1, seed=0)
    >>> rows = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    >>> router.note("left", rows[:200] - 3, torch.zeros(200, dtype=torch.int64))
    >>> router.note("right", rows[200:] + 3, torch.zeros(200, dtype=torch.int64))
    >>> router.route(torch.tensor([[-3.0, -3.0], [2.0, 3.0], [40.0, 40.0]]))
    ['left', 'right', None]
    """

    def __init__(
        self, *, wrong: float = 0.05, shrinkage: float = 0.3, sample: int = 1000, seed: int = 0
    ) -> None:
        self._wrong, self._shrinkage, self._size, self._seed = wrong, shrinkage, sample, seed
        self._groups: dict[tuple[str, int], int] = {}
        self._moments: Moments | None = None
        self._sample = _Sample(sample, seed)
        self._whitened: tuple[Tensor, Tensor] | None = None
        self._threshold: float | None = None

    @property
    def names(self) -> list[str]:
        """The adapters that have learned rows, in the order in which they began."""
        return list(dict.fromkeys(name for name, _ in self._groups))

    def note(self, name: str, rows: Tensor, groups: Tensor) -> None:
        """Rows (n, d) of these groups (n,) were learned by an adapter.

        Raises:
            ConfigError: they are not as long as earlier ones, or not finite.
        """
        width = None if self._moments is None else self._moments.means.shape[1]
        rows = checked(rows, width, torch.float64)
        known = Moments.none(rows.shape[1]) if self._moments is None else self._moments
        codes = torch.tensor(
            [self._groups.setdefault((name, group), len(self._groups)) for group in groups.tolist()]
        )
        self._moments = known.joined(rows, codes, None, classes=len(self._groups))
        self._sample.note(rows, codes)
        self._whitened = self._threshold = None

    def scores(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """For rows (n, d): the score (n, a) of each adapter in `names`, and the least distance (n,)."""
        distances = torch.cat([self._distances(part) for part in torch.split(rows.cpu().double(), TOGETHER)])
        found = []
        for name in self.names:
            mine = [code for (owner, _), code in self._groups.items() if owner == name]
            found.append(torch.logsumexp(-distances[:, mine] / 2, 1))
        return torch.stack(found, 1), distances.amin(1)

    def nearest(self, rows: Tensor, without: Collection[str] = ()) -> list[str]:
        """For rows (n, d) the adapter with the best score, of those that are not left out."""
        names, (scores, _) = self.names, self.scores(rows)
        barred = torch.tensor([name in without for name in names])
        if bool(barred.all()):
            raise ConfigError("every adapter that learned rows is retired: there is none to answer")
        return [names[best] for best in scores.masked_fill(barred, -torch.inf).argmax(1).tolist()]

    def strange(self, rows: Tensor) -> Tensor:
        """Which of the rows (n, d) are like none that was learned: (n,) bool."""
        return self.scores(rows)[1] > self.threshold

    def route(self, rows: Tensor, without: Collection[str] = ()) -> list[str | None]:
        """For rows (n, d) the adapter that is to answer, or None where none is."""
        told = zip(self.nearest(rows, without), self.strange(rows).tolist(), strict=True)
        return [None if strange else name for name, strange in told]

    @property
    def threshold(self) -> float:
        """The distance beyond which a row is a stranger; infinite where too few rows were learned to tell."""
        if self._threshold is None:
            distances = self._without_themselves()
            place = math.ceil((1 - self._wrong) * (len(distances) + 1))
            enough = self._wrong > 0 and 0 < place <= len(distances)
            self._threshold = float(distances.sort().values[place - 1]) if enough else math.inf
        return self._threshold

    def _distances(self, rows: Tensor) -> Tensor:
        """Of rows (n, d) to every group: (n, k)."""
        factor, means = self._factored()
        return torch.cdist(_solved(factor, rows), means, compute_mode="donot_use_mm_for_euclid_dist").square()

    def _factored(self) -> tuple[Tensor, Tensor]:
        """The Cholesky factor L of A (d, d), and the means (k, d) seen through it, L^-1 mu."""
        if self._moments is None:
            raise ConfigError("the router knows no row yet: let an adapter learn some first")
        if self._whitened is None:
            moments, e = self._moments, self._shrinkage
            covariance = moments.scatter / moments.counts.sum()
            scale = covariance.diagonal().mean().clamp(min=_TINY)
            identity = torch.eye(len(covariance), dtype=torch.float64)
            factor = torch.linalg.cholesky((1 - e) * covariance + e * scale * identity)
            self._whitened = factor, _solved(factor, moments.means)
        return self._whitened

    def _without_themselves(self) -> Tensor:
        """The least distance (m,) of each row of the sample, from moments that it is taken out of.

        Without row x of a group of n with mean mu, the mean is x - g n / (n - 1), g = x - mu, and the scatter
        loses g g^T n / (n - 1): a change of rank one, whose inverse is known (Sherman & Morrison 1950). The
        count N in the covariance stays, which changes a distance by 1 / N of itself.
        """
        rows, codes = self._sample.rows, self._sample.codes
        moments = self._moments
        if moments is None or not len(rows):
            return torch.zeros(0, dtype=torch.float64)
        factor, means = self._factored()
        n, total = moments.counts[codes], moments.counts.sum()
        usable = n > 1
        rows, codes, n = rows[usable].double(), codes[usable], n[usable]
        found = [torch.zeros(0, dtype=torch.float64)]
        for x, k, m in zip(*(torch.split(one, TOGETHER) for one in (rows, codes, n)), strict=True):
            seen = _solved(factor, x)
            g, share = seen - means[k], m / (m - 1)
            apart = seen[:, None] - means
            apart[torch.arange(len(k)), k] = g * share[:, None]
            lost = (1 - self._shrinkage) * share / total
            along = (apart @ g[:, :, None])[:, :, 0].square()
            left = (1 - lost * g.square().sum(1)).clamp(min=1e-9)
            found.append((apart.square().sum(2) + along * (lost / left)[:, None]).amin(1))
        return torch.cat(found)

    def state(self) -> State:
        """The groups, their moments, and the sample."""
        return {
            "groups": [[name, group] for name, group in self._groups],
            "moments": {} if self._moments is None else self._moments.state(),
            "sample": self._sample.state(),
        }

    def load_state(self, state: State) -> None:
        """Take a saved state."""
        moments = state["moments"]
        self._groups = {(str(name), int(group)): code for code, (name, group) in enumerate(state["groups"])}
        self._moments = Moments.of(moments) if moments else None
        self._sample = _Sample(self._size, self._seed)
        self._sample.load_state(state["sample"])
        self._whitened = self._threshold = None


class _Sample:
    """A uniform sample of a stream's rows: those with the least draws, each keyed by the row's number."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self._seen = 0
        self._draws = torch.zeros(0, dtype=torch.float64)
        self.rows = torch.zeros(0, 0)
        self.codes = torch.zeros(0, dtype=torch.int64)

    def note(self, rows: Tensor, codes: Tensor) -> None:
        """The next rows (n, d) of the stream, and their groups."""
        numbers = np.arange(self._seen, self._seen + len(rows), dtype=np.uint64)
        self._seen += len(rows)
        draws = torch.cat([self._draws, torch.from_numpy(uniform(self._seed, "router", numbers))])
        kept = draws.argsort(stable=True)[: self._size].sort().values
        earlier = self.rows if len(self.rows) else rows.float()[:0]
        self._draws = draws[kept]
        self.rows, self.codes = torch.cat([earlier, rows.float()])[kept], torch.cat([self.codes, codes])[kept]

    def state(self) -> State:
        """The rows and all that the next draw depends on."""
        return {"seen": self._seen, "draws": self._draws, "rows": self.rows, "codes": self.codes}

    def load_state(self, state: State) -> None:
        """Take a saved sample."""
        self._seen = int(state["seen"])
        self._draws, self.rows, self.codes = (state[name].clone() for name in ("draws", "rows", "codes"))


def _solved(factor: Tensor, rows: Tensor | Sequence[Tensor]) -> Tensor:
    """L^-1 x for rows (n, d)."""
    whole: Tensor = torch.linalg.solve_triangular(factor, torch.as_tensor(rows).T, upper=False)
    return whole.T
