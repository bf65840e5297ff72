"""How much bases leave: of a gradient, of what an answer sees, of a row's inputs.

    kappa = |G (I - M M^T)| / |G|,    1 - |M^T x|^2 / |x|^2

The exact residual is found only where little is left, for there the difference of two energies is rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto import subspace
from tenuto.protocols.adapters import Reads
from tenuto.trees import Tree

NOTHING = 1e-12
"""The square of a length below which an input has no direction."""
CLEAR = 1e-2
"""The square of kappa from which the difference of energies tells it, to 0.01 % in float32."""
TOKENS = 8
"""Of a row, evenly spread, whose mean tells how much of it is unprotected."""


def units(rows: Tensor) -> Tensor:
    """Rows (n, d) of length 1 in float32; those without a direction, or not finite, are left out.

    >>> units(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000]])
    """
    rows = rows.detach().float()
    lengths = rows.norm(dim=1)
    return F.normalize(rows[(lengths > NOTHING) & lengths.isfinite()], dim=1)


def retained(bases: Tree, reads: Reads, rows: slice) -> float:
    """kappa: the share |G (I - M M^T)| / |G| of these rows' gradient that the bases leave; 1 without any.

    Sites are looked at from the largest gradient on, until what these leave is more than `CLEAR` of all of
    |G|^2; kappa is then theirs. Where it is not it is that of all sites, exact.
    """
    if not any(basis.shape[1] for basis in bases.values()):
        return 1.0
    found = {site: reads.gradient(site, rows) for site in bases}
    sizes = torch.stack([one.double().square().sum() for one in found.values()])
    energies, order = (one.tolist() for one in sizes.sort(descending=True))
    sites, total = list(found), sum(energies)
    if not total:
        return 1.0
    left, whole = 0.0, 0.0
    for energy, number in zip(energies, order, strict=True):
        held = found[sites[number]] @ bases[sites[number]]
        left, whole = left + energy - float(held.double().square().sum()), whole + energy
        if left > CLEAR * total:
            return float(min(left / whole, 1.0) ** 0.5)
    outside = [subspace.remove(subspace.remove(found[site], basis), basis) for site, basis in bases.items()]
    exact = float(torch.stack([one.double().square().sum() for one in outside]).sum())
    return float((exact / total) ** 0.5)


def share(inputs: Tensor, basis: Tensor) -> Tensor:
    """1 - |M^T x|^2 / |x|^2 of inputs (..., d): what no direction of a basis holds.

    >>> share(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0], [0.0]]))
    tensor([0.6400])
    """
    some = inputs.float()
    return 1 - (some @ basis).square().sum(-1) / some.square().sum(-1).clamp(min=NOTHING)


def hidden(
    bases: Tree, reads: Reads, module: nn.Module, rows: Tensor, asked: Tensor, *, below: float
) -> Tensor:
    """Which of the answers (n, l) that are asked about see nothing of which more than `below` is unprotected.

    That is, no input at any site, of the token an answer is read behind or of one before it. The share bounds
    the square of the answer's own kappa: where it vanishes, so does the answer's gradient. Most answers see
    enough where they are read; only for the others all inputs before them are looked at. Columns beyond the
    longest answer of these rows are left out.
    """
    places = getattr(module, "places", None)
    left = asked
    sites = list(reads.inputs)[::-1]
    sites.sort(key=lambda site: bases[site].shape[0])
    if places is not None:
        behind = places(rows)
        left = asked[:, : behind.shape[1]].clone()
        for site in sites:
            row, answer = left.nonzero(as_tuple=True)
            if not len(row):
                return left
            seen = reads.inputs[site][row, behind[row, answer]]
            left[row, answer] = share(seen, bases[site]) < below
    for site in sites:
        which = left.any(1).nonzero()[:, 0]
        if not len(which):
            return left
        most = share(reads.inputs[site][which], bases[site])
        if places is None:
            seen = most.reshape(len(which), -1).amax(1, keepdim=True)
        else:
            seen = most.cummax(1).values.gather(1, behind[which])
        left = left.clone()
        left[which] &= seen < below
    return left


def unprotected(bases: Tree, reads: Reads, kept: Tensor | None, first: int = 0) -> Tensor:
    """1 - |M^T x|^2 / |x|^2 of each row (n,), the mean over some tokens and all sites; 1 before `first`."""
    shares = []
    for site, inputs in reads.inputs.items():
        rows = inputs[first:].flatten(1, -2) if inputs.dim() > 2 else inputs[first:, None]
        if kept is None:
            shares.append(share(rows, bases[site]).mean(1))
            continue
        count = kept[first:].sum(1, keepdim=True)
        spread = torch.arange(TOKENS, device=count.device) * count // TOKENS
        order = (~kept[first:]).int().argsort(stable=True, dim=1).gather(1, spread)
        found = rows.gather(1, order[:, :, None].expand(-1, -1, rows.shape[2]))
        shares.append(share(found, bases[site]).mean(1))
    found = torch.stack(shares).mean(0)
    return torch.cat([found.new_ones(first), found])
