"""How much bases leave of what an answer sees, and of a row's inputs: 1 - |M^T x|^2 / |x|^2.

An input of no length is no input: of a gated expert, a token that it does not answer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto.protocols.adapters import Reads
from tenuto.trees import Tree

NOTHING = 1e-12
"""The square of a length below which an input has no direction."""
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


def unheld(inputs: Tensor, basis: Tensor) -> Tensor:
    """1 - |M^T x|^2 / |x|^2 of inputs (..., d), that no direction of a basis holds; 0 where there is none.

    >>> unheld(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[1.0], [0.0]]))
    tensor([0.6400, 0.0000])
    """
    some = inputs.float()
    inside, whole = (some @ basis).square().sum(-1), some.square().sum(-1)
    return torch.where(whole > NOTHING, 1 - inside / whole.clamp(min=NOTHING), 0.0)


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
            left[row, answer] = unheld(seen, bases[site]) < below
    for site in sites:
        which = left.any(1).nonzero()[:, 0]
        if not len(which):
            return left
        most = unheld(reads.inputs[site][which], bases[site])
        if places is None:
            seen = most.reshape(len(which), -1).amax(1, keepdim=True)
        else:
            seen = most.cummax(1).values.gather(1, behind[which])
        left = left.clone()
        left[which] &= seen < below
    return left


def unprotected(bases: Tree, reads: Reads, kept: Tensor | None, first: int = 0) -> Tensor:
    """What no direction holds of each row (n,), 1 before `first`: the mean over some tokens, all sites that
    read any of them."""
    shares, counts = [], []
    for site, inputs in reads.inputs.items():
        rows = inputs[first:].flatten(1, -2) if inputs.dim() > 2 else inputs[first:, None]
        if kept is not None:
            count = kept[first:].sum(1, keepdim=True)
            spread = torch.arange(TOKENS, device=count.device) * count // TOKENS
            order = (~kept[first:]).int().argsort(stable=True, dim=1).gather(1, spread)
            rows = rows.gather(1, order[:, :, None].expand(-1, -1, rows.shape[2]))
        there = rows.float().square().sum(-1) > NOTHING
        shares.append(unheld(rows, bases[site]).sum(1) / there.sum(1).clamp(min=1))
        counts.append(there.any(1))
    found = torch.stack(shares).sum(0) / torch.stack(counts).sum(0).clamp(min=1)
    return torch.cat([found.new_ones(first), found])
