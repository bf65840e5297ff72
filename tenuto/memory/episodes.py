"""Episodic memory: stored rows found again by what a query is like.

    nearest:   argmax_i cos(q, k_i)
    retrieve:  q <- softmax(beta q K^T) K                      (modern Hopfield; Ramsauer et al. 2021, eq. 3)

Where pattern i is separated by Delta_i = <k_i, k_i> - max_{j != i} <k_i, k_j> and no norm exceeds M, one
retrieval from k_i errs by at most 2 (N - 1) M exp(-beta Delta_i) (their theorem 4). Random patterns on a
sphere are separated in proportion to their dimension d, so exponentially many in d can be stored; the
classical network of N units holds 0.138 N (Amit et al. 1985).

The invariant: answers are a function of keys and query, and each says which slot and entry it is from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tenuto.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Episode:
    """A stored row that answers a query.

    Args:
        slot: where it lies in memory.
        similarity: cosine with the query.
        id: of the entry it came from, where that is known.
    """

    slot: int
    similarity: float
    id: str | None = None


class Episodes:
    """Rows to recall by their embedding.

    Args:
        keys: embeddings (n, d), one per row.
        slots: where each lies in memory; None: the first n.
        ids: of the entry each came from; None: not known.

    Raises:
        ConfigError: keys are no finite matrix, or slots or ids are not one per key.

    >>> episodes = Episodes(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]), ids=["a", "b", "c"])
    >>> [found] = episodes.recall(torch.tensor([0.1, 5.0]), 2)
    >>> [(episode.slot, episode.id, round(episode.similarity, 3)) for episode in found]
    [(1, 'b', 1.0), (2, 'c', 0.721)]
    """

    def __init__(
        self, keys: Tensor, *, slots: Sequence[int] | None = None, ids: Sequence[str | None] | None = None
    ) -> None:
        if keys.dim() != 2 or not bool(keys.isfinite().all()):
            raise ConfigError(f"keys are a finite matrix (n, d), not of shape {tuple(keys.shape)}")
        for name, beside in (("slots", slots), ("ids", ids)):
            if beside is not None and len(beside) != len(keys):
                raise ConfigError(f"{len(keys)} keys have {len(beside)} {name}; give one for each")
        self.keys = keys
        self._unit = F.normalize(keys, dim=1)
        self._slots = list(range(len(keys))) if slots is None else list(slots)
        self._ids = [None] * len(keys) if ids is None else list(ids)

    def __len__(self) -> int:
        return len(self.keys)

    def recall(self, query: Tensor, count: int) -> list[list[Episode]]:
        """For each query of (m, d), or the one of (d,), at most `count` rows, the nearest by cosine first.

        Of equally near ones the earlier comes first.
        """
        queries = self._queries(query)
        n = min(count, len(self))
        if n < 1:
            return [[] for _ in queries]
        cosines = F.normalize(queries, dim=1) @ self._unit.T
        near, rows = cosines.sort(dim=1, descending=True, stable=True)
        found = zip(near[:, :n].tolist(), rows[:, :n].tolist(), strict=True)
        return [[self._episode(*pair) for pair in zip(*answer, strict=True)] for answer in found]

    def complete(self, query: Tensor, *, beta: float, steps: int = 1) -> tuple[Tensor, list[Episode]]:
        """Queries (m, d) as memory completes them, and the row that each of them fell to.

        Args:
            query: (m, d), or (d,).
            beta: inverse temperature, above 0: larger tells patterns apart that are closer.
            steps: retrievals, each from where the last one ended.

        Raises:
            ConfigError: there is nothing to complete from.
        """
        if not len(self):
            raise ConfigError("no keys are stored, so nothing can be completed")
        found = retrieve(self.keys, self._queries(query), beta=beta, steps=steps)
        rows = (found @ self.keys.T).argmax(1)
        cosines = F.cosine_similarity(self._queries(query), self.keys[rows])
        pairs = zip(cosines.tolist(), rows.tolist(), strict=True)
        return found, [self._episode(cosine, row) for cosine, row in pairs]

    def _queries(self, query: Tensor) -> Tensor:
        queries = query.unsqueeze(0) if query.dim() == 1 else query
        if queries.dim() != 2 or queries.shape[1] != self.keys.shape[1]:
            raise ConfigError(f"a query has {self.keys.shape[1]} numbers, not shape {tuple(query.shape)}")
        return queries.to(self.keys.dtype)

    def _episode(self, similarity: float, row: int) -> Episode:
        return Episode(self._slots[row], similarity, self._ids[row])


def retrieve(keys: Tensor, queries: Tensor, *, beta: float, steps: int = 1) -> Tensor:
    """Modern Hopfield retrieval of queries (m, d) from keys (n, d): softmax(beta q K^T) K, `steps` times.

    Source: Ramsauer et al., Hopfield networks is all you need, 2021.

    >>> retrieve(torch.eye(2), torch.tensor([[0.6, 0.4]]), beta=40.0).round(decimals=3).tolist()
    [[1.0, 0.0]]
    """
    if not beta > 0 or steps < 1:
        raise ConfigError(
            f"retrieval takes beta > 0 and at least one step, not beta {beta} and steps {steps}"
        )
    for _ in range(steps):
        queries = (beta * queries @ keys.T).softmax(1) @ keys
    return queries


def separation(keys: Tensor) -> Tensor:
    """Delta_i = <k_i, k_i> - max_{j != i} <k_i, k_j>, (n,): how far each stands out; infinite if alone.

    >>> separation(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [4.0, 1.0]
    """
    products = keys @ keys.T
    own = products.diagonal().clone()
    others = products.fill_diagonal_(-torch.inf).amax(1) if len(keys) else own
    return own - others


def error_bound(keys: Tensor, *, beta: float) -> Tensor:
    """2 (N - 1) M exp(-beta Delta_i), (n,): no single retrieval from a stored pattern i errs by more.

    >>> error_bound(torch.eye(2), beta=10.0).tolist() == [2 * torch.tensor(-10.0).exp().item()] * 2
    True
    """
    largest = keys.norm(dim=1).amax() if len(keys) else keys.new_zeros(())
    return 2 * (len(keys) - 1) * largest * (-beta * separation(keys)).exp()


def capacity(dimensions: int, *, beta: float, radius: float, failure: float) -> float:
    """How many random patterns on a sphere are stored but for a chance of failure p: sqrt(p) c^((d - 1) / 4).

    With K = radius / sqrt(d - 1), a = 2 / (d - 1) (1 + ln(2 beta K^2 p (d - 1))), b = 2 K^2 beta / 5 and
    c = b / W0(exp(a + ln b)); a lower bound, which holds where c >= (2 / sqrt(p))^(4 / (d - 1)). A pattern is
    stored where a fixed point lies within 1 / (beta N radius) of it: that must be below half the radius.

    Args:
        dimensions: d, at least 2.
        beta: inverse temperature.
        radius: of the sphere.
        failure: p, in (0, 1).

    Raises:
        ConfigError: the theorem does not hold there.

    Source: Ramsauer et al. 2021, theorem 3.

    >>> round(capacity(75, beta=1.0, radius=74**0.5, failure=0.001), 1)
    11.0
    """
    d = dimensions - 1
    k2 = radius**2 / d
    a = 2 / d * (1 + torch.tensor(2 * beta * k2 * failure * d, dtype=torch.float64).log())
    b = torch.tensor(2 * k2 * beta / 5, dtype=torch.float64)
    c = float(b / _lambert(a + b.log()))
    n = float(failure**0.5 * c ** (d / 4))
    if c < (2 / failure**0.5) ** (4 / d) or beta * n * radius**2 <= 2:
        raise ConfigError(f"theorem 3 says nothing of d {dimensions}, beta {beta}, radius {radius}")
    return n


def _lambert(log: Tensor) -> Tensor:
    """W with W e^W = exp(log), by Newton's steps on W + ln W = log."""
    w = log.exp().log1p()
    for _ in range(50):
        w = w * (1 + log - w.log()) / (1 + w)
    return w
