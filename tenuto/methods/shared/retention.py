"""Retention ratios: how much of a gradient bases leave, at each site and in all.

    kappa = |G (I - M M^T)| / |G|

G is the gradient of the whole weights of a site. Where kappa vanishes nothing can be learned any more.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tenuto import subspace
from tenuto.methods.shared.revision import NOTHING
from tenuto.protocols.adapters import Reads
from tenuto.trees import Tree

HALF_LIFE = 100
"""Updates after which a kappa counts half in its running mean."""
Sizes = dict[str, tuple[float, float]]
"""By site |G (I - M M^T)| and |G|."""


class Retention:
    """Running means of kappa: of all sites together, and of each that was asked.

    >>> retention = Retention()
    >>> retention.note({"attention": (0.0, 2.0), "mlp": (1.5, 1.5)})
    >>> round(retention.kappa, 4), {site: round(one, 4) for site, one in retention.sites.items()}
    (0.9972, {'attention': 0.9931, 'mlp': 1.0})
    """

    def __init__(self) -> None:
        self.kappa = 1.0
        self.sites: dict[str, float] = {}

    def note(self, sizes: Sizes) -> None:
        """Of the fresh rows of one update."""
        weight = 2 ** (-1 / HALF_LIFE)
        self.kappa = weight * self.kappa + (1 - weight) * share(sizes)
        for site, (left, whole) in sizes.items():
            if whole:
                self.sites[site] = weight * self.sites.get(site, 1.0) + (1 - weight) * left / whole


def sizes(bases: Tree, reads: Reads, rows: slice) -> Sizes:
    """What these rows' gradient measures at each site that they were read at; empty without any basis."""
    if not any(basis.shape[1] for basis in bases.values()):
        return {}
    found = {}
    for site in reads.inputs:
        gradient, basis = reads.gradient(site, rows), bases[site]
        outside = subspace.remove(subspace.remove(gradient, basis), basis)
        found[site] = torch.stack([outside.norm(), gradient.norm()])
    told: list[tuple[float, float]] = torch.stack(list(found.values())).tolist()
    return {site: (left, whole) for site, (left, whole) in zip(found, told, strict=True)}


def share(sizes: Mapping[str, tuple[float, float]]) -> float:
    """kappa of all sites together; 1 where there is no gradient.

    >>> share({"one": (3.0, 5.0), "other": (0.0, 0.0)}), share({})
    (0.6, 1.0)
    """
    left, whole = (sum(pair[side] ** 2 for pair in sizes.values()) ** 0.5 for side in (0, 1))
    return left / whole if whole else 1.0


def unprotected(bases: Tree, reads: Reads, kept: Tensor | None) -> Tensor:
    """1 - |M^T x|^2 / |x|^2, the mean (n,) over each row's tokens and all sites that read anything of it."""
    shares, counts = [], []
    for site, inputs in reads.inputs.items():
        rows = inputs.float().flatten(1, -2) if inputs.dim() > 2 else inputs.float()[:, None]
        inside, whole = (rows @ bases[site]).square().sum(-1), rows.square().sum(-1)
        left = 1 - inside / whole.clamp(min=NOTHING)
        there = (whole > NOTHING).to(left) if kept is None else kept * (whole > NOTHING).to(left)
        shares.append((left * there).sum(1) / there.sum(1).clamp(min=1))
        counts.append(there.any(1))
    read = torch.stack(counts).sum(0).clamp(min=1)
    return torch.stack(shares).sum(0) / read
