"""What bases leave: kappa, of a gradient, and the share of inputs that is unprotected.

kappa = |G (I - M M^T)| / |G|
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto import subspace
from tenuto.methods.shared.revision import NOTHING
from tenuto.protocols.adapters import Reads
from tenuto.trees import Tree


def retained(bases: Tree, reads: Reads, rows: slice) -> float:
    """kappa: the share |G (I - M M^T)| / |G| of these rows' gradient that the bases leave; 1 without any."""
    if not any(basis.shape[1] for basis in bases.values()):
        return 1.0
    sizes = []
    for site, basis in bases.items():
        found = reads.gradient(site, rows)
        outside = subspace.remove(subspace.remove(found, basis), basis)
        sizes.append(torch.stack([outside.norm(), found.norm()]))
    left, whole = torch.stack(sizes).double().norm(dim=0).tolist()
    return float(left / whole) if whole else 1.0


def unprotected(bases: Tree, reads: Reads, kept: Tensor | None) -> Tensor:
    """1 - |M^T x|^2 / |x|^2, the mean (n,) over each row's tokens and all sites."""
    shares = []
    for site, inputs in reads.inputs.items():
        rows = inputs.float().flatten(1, -2) if inputs.dim() > 2 else inputs.float()[:, None]
        inside = (rows @ bases[site]).square().sum(-1)
        share = 1 - inside / rows.square().sum(-1).clamp(min=NOTHING)
        there = torch.ones_like(share) if kept is None else kept.to(share)
        shares.append((share * there).sum(1) / there.sum(1).clamp(min=1))
    return torch.stack(shares).mean(0)
