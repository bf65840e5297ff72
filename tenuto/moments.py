"""Means of classes and the scatter within them, one batch at a time (Chan, Golub & LeVeque 1979).

    mean_k <- mean_k + (m_k - mean_k) w_k / (W_k + w_k)
    S      <- S + sum_i w_i (x_i - m_yi)(x_i - m_yi)^T
                + sum_k (m_k - mean_k)(m_k - mean_k)^T W_k w_k / (W_k + w_k)

In float64. The invariant: rows in batches of any size give the moments of all of them at once, up to
rounding.
"""

from __future__ import annotations

import torch
from msgspec import Struct
from torch import Tensor

from tenuto.trees import fit
from tenuto.types import State


class Moments(Struct, frozen=True, eq=False):
    """What is known of each class.

    Args:
        counts: (c,) the weight of its rows.
        means: (c, d).
        scatter: (d, d) of the rows around the means of their classes, of all classes together.

    >>> rows, codes = torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1])
    >>> known = Moments.none(1).joined(rows, codes, None, classes=2)
    >>> known.means.flatten().tolist(), known.scatter.tolist()
    ([1.0, 5.0], [[2.0]])
    """

    counts: Tensor
    means: Tensor
    scatter: Tensor

    @classmethod
    def none(cls, features: int, device: torch.device | None = None) -> Moments:
        """No row yet."""
        empty = torch.zeros(0, features, dtype=torch.float64, device=device)
        return cls(empty.new_zeros(0), empty, empty.new_zeros(features, features))

    def joined(self, rows: Tensor, codes: Tensor, weights: Tensor | None, *, classes: int) -> Moments:
        """The moments with n rows (n, d) of these classes (n,) added; this one is left as it is."""
        x = rows.detach().double()
        w = x.new_ones(len(x)) if weights is None else weights.to(x)
        counts, means = (
            fit(self.counts, x.new_empty(classes)),
            fit(self.means, x.new_empty(classes, x.shape[1])),
        )
        new = x.new_zeros(classes).index_add_(0, codes, w)
        sums = torch.zeros_like(means).index_add_(0, codes, x * w[:, None])
        mine = torch.where(new[:, None] > 0, sums / new.clamp(min=1e-300)[:, None], means)
        total = counts + new
        share = new / total.clamp(min=1e-300)
        apart, gap = x - mine[codes], mine - means
        here = new > 0
        moved, by = gap[here], (counts * share)[here]
        scatter = self.scatter + apart.T @ (apart * w[:, None]) + moved.T @ (moved * by[:, None])
        return Moments(total, means + gap * share[:, None], scatter)

    def state(self) -> State:
        """The three tensors."""
        return {"counts": self.counts, "means": self.means, "scatter": self.scatter}

    @classmethod
    def of(cls, state: State) -> Moments:
        """From a saved state."""
        return cls(*(state[name].clone() for name in ("counts", "means", "scatter")))
