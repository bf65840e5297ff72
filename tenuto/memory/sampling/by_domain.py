"""Sampling by domain: a domain uniformly, then one of its rows uniformly.

Rows that name no domain are one more domain together. However long a domain lasts, each that memory still
holds a row of is replayed as often as any other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto.memory.sampling.balanced import Balanced
from tenuto.protocols import Pool


class ByDomain(Balanced):
    """Equal chances for every domain, with replacement.

    >>> pool = Pool(5, torch.zeros(5), domains=torch.tensor([0, 0, 0, 0, 1]))
    >>> ByDomain(0).rows(4, pool, step=0, draw="replay")[0].tolist()
    [0, 4, 4, 4]
    """

    needs = frozenset({"domains"})

    def rows(self, n: int, pool: Pool, step: int, draw: str) -> tuple[Tensor, Tensor | None]:
        """n slots."""
        domains = torch.zeros(pool.count) if pool.domains is None else pool.domains
        return super().rows(n, Pool(pool.count, domains), step, draw)


def policy(seed: int) -> ByDomain:
    """Sampling by domain."""
    return ByDomain(seed)
