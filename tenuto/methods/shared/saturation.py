"""Saturation: bases hold so much that hardly anything new can be learned, and let go of what matters least.

    saturated:  |M^T x|^2 / |x|^2 > FULL of fresh inputs,  and the running mean of kappa < SPENT

where kappa is the share of the gradient that the bases leave, on rows that have something to learn: the
gradient of a row that is known vanishes too, and means nothing. Then each site that is full gives up half
of its directions by the shrink of Frequent Directions (Liberty 2013): those of least energy go, and the
energy of the others is lessened by that of the largest that went: old energy counts less the next time.

The energy of a direction is that of the inputs it protects, the share of each context's that lies along it
added up, so that a context counts as much as another. What went, over all there was, is the forgetting budget
spent: it is told, not hidden. (The condition number of an orthonormal basis is 1, and detects nothing.)
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from tenuto import subspace
from tenuto.protocols.adapters import Reads
from tenuto.trees import Tree
from tenuto.types import State

FULL, SPENT = 0.95, 0.05
HALF_LIFE = 20
"""Updates with something to learn after which a kappa counts half in the running mean."""


class Saturation:
    """The energy of every direction, and how much can still be learned.

    Attributes:
        kappa: the running mean over updates that have something to learn; 1 at first.
        budget: by site, the share of its energy that was given up, added up.
        prunes: how often that was.
    """

    def __init__(self) -> None:
        self._energy: Tree = {}
        self.kappa = 1.0
        self.budget: dict[str, float] = {}
        self.prunes = 0

    @property
    def spent(self) -> bool:
        """Is hardly anything learned any more?"""
        return self.kappa < SPENT

    def follow(self, site: str, held: Tensor, basis: Tensor, rows: Tensor | None = None) -> None:
        """A basis takes the place of another, and protects what these rows (n, d) give its site besides."""
        energy = self._energy.get(site, held.new_zeros(held.shape[1]))
        energy = (held.T @ basis).square().T @ energy
        if rows is not None and len(rows):
            whole = rows.to(basis).square().sum()
            energy = energy + (rows.to(basis) @ basis).square().sum(0) / whole.clamp(min=1e-12)
        self._energy[site] = energy

    def turn(self, held: Tree, bases: Tree) -> None:
        """Bases take the places of others, by site."""
        for site, basis in bases.items():
            self.follow(site, held[site], basis)

    def prune(self, kappa: float, bases: Tree, captured: dict[str, float]) -> Tree | None:
        """The bases without what those that are full give up; None where they are not saturated.

        Args:
            kappa: of an update that had something to learn.
            captured: by site, the share of the energy of fresh inputs that its basis spans; none while not
                `spent`.
        """
        weight = 2 ** (-1 / HALF_LIFE)
        self.kappa = weight * self.kappa + (1 - weight) * kappa
        if not self.spent or not captured or sum(captured.values()) / len(captured) <= FULL:
            return None
        pruned = dict(bases)
        for site, share in captured.items():
            if share > FULL and bases[site].shape[1] > 1:
                pruned[site] = self._shrunk(site, bases[site])
        self.prunes += 1
        self.kappa = 1.0
        return pruned

    def _shrunk(self, site: str, basis: Tensor) -> Tensor:
        energy = self._energy.get(site, basis.new_zeros(basis.shape[1]))
        kept, left = shrunk(energy, basis.shape[1] // 2)
        total = float(energy.sum())
        lost = 1 - float(energy[kept].sum()) / total if total else 1 - len(kept) / basis.shape[1]
        self.budget[site] = self.budget.get(site, 0.0) + lost
        self._energy[site] = left
        return basis[:, kept].clone()

    def state(self) -> State:
        """Energies, the running mean, and what was given up."""
        return {
            "energy": dict(self._energy),
            "kappa": self.kappa,
            "budget": dict(self.budget),
            "prunes": self.prunes,
        }

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        self._energy = {site: one.detach().clone() for site, one in state["energy"].items()}
        self.kappa, self.prunes = float(state["kappa"]), int(state["prunes"])
        self.budget = {site: float(share) for site, share in state["budget"].items()}


def shrunk(energy: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """Which `keep` of the directions stay, in their order, and their energy less the largest that goes.

    >>> import torch
    >>> shrunk(torch.tensor([1.0, 5.0, 2.0, 4.0]), 2)
    (tensor([1, 3]), tensor([3., 2.]))
    """
    order = energy.argsort(descending=True, stable=True)
    kept = order[:keep].sort().values
    least = energy[order[keep]] if keep < len(energy) else energy.new_zeros(())
    return kept, energy[kept] - least


def captured(bases: Tree, reads: Reads, rows: slice, there: Tensor | None) -> dict[str, float]:
    """By site, the share of the energy of these rows' unit-normalised inputs that its basis spans.

    Args:
        there: which tokens (n, t) are, where rows are made of tokens.
    """
    return {
        site: subspace.captured(F.normalize(reads.rows(site, rows, there).float(), dim=1), bases[site])
        for site in reads.inputs
    }
