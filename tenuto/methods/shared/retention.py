"""Retention ratios: how much of a gradient bases leave, at each site and in all.

    kappa = |G (I - M M^T)| / |G|

G is the gradient of the whole weights of a site. Where kappa vanishes nothing can be learned any more.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tenuto import subspace
from tenuto.protocols.adapters import Reads
from tenuto.trees import Tree

HALF_LIFE = 100
"""Updates after which a kappa counts half in its running mean."""
CLEAR = 1e-2
"""The square of kappa from which the difference of energies tells it, to 0.01 % in float32."""
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
    """What these rows' gradient measures at each site that is looked at; empty without any basis or gradient.

    Sites are looked at from the largest gradient on, until what these leave is more than `CLEAR` of all of
    |G|^2: kappa is then told by theirs. Where it is not, all are looked at, and exactly.
    """
    if not any(basis.shape[1] for basis in bases.values()):
        return {}
    found = {site: reads.gradient(site, rows) for site in reads.inputs}
    energies = {site: float(one.double().square().sum()) for site, one in found.items()}
    total, left, told = sum(energies.values()), 0.0, {}
    for site in sorted(energies, key=lambda one: -energies[one]) if total else ():
        outside = max(energies[site] - float((found[site] @ bases[site]).double().square().sum()), 0.0)
        left, told[site] = left + outside, (outside**0.5, energies[site] ** 0.5)
        if left > CLEAR * total:
            return told
    return {site: (_outside(found[site], bases[site]), told[site][1]) for site in told}


def _outside(gradient: Tensor, basis: Tensor) -> float:
    """|G (I - M M^T)|, exactly: where little is left the difference of two energies is rounding."""
    return float(subspace.remove(subspace.remove(gradient, basis), basis).double().norm())


def share(sizes: Mapping[str, tuple[float, float]]) -> float:
    """kappa of all sites together; 1 where there is no gradient.

    >>> share({"one": (3.0, 5.0), "other": (0.0, 0.0)}), share({})
    (0.6, 1.0)
    """
    left, whole = (sum(pair[side] ** 2 for pair in sizes.values()) ** 0.5 for side in (0, 1))
    return left / whole if whole else 1.0
