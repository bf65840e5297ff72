"""Sketching: what a context's updates read at each site, as it streams by.

Of each input x of length 1, (I - M M^T) x goes into the sketch of its site, as large as its basis M has room;
of M^T x the energies along each direction are added up. Together they stand for all inputs seen, and a basis
without room costs nothing.

The invariant: of rows that several updates follow each other on, what the last one read is sketched, once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto.methods.shared.unheld import units
from tenuto.protocols.adapters import Reads
from tenuto.randomness import choose
from tenuto.sketches import Sketch, sketch
from tenuto.trees import Tree
from tenuto.types import State

TOGETHER = 112
"""Inputs that wait at a site until they are sketched: a basis is read once for all of them."""


class Sketching:
    """A sketch for each site of the present context.

    Args:
        kind: of `tenuto.sketches.KINDS`.
        novelty: as of `tenuto.sketches.GramSchmidt`.
        most: columns of a basis.
        tokens: inputs of each update.
    """

    def __init__(self, *, kind: str, novelty: float, most: int, tokens: int) -> None:
        self.kind, self._novelty, self._most, self._tokens = kind, novelty, most, tokens
        self._sketches: dict[str, Sketch] = {}
        self._inside: Tree = {}
        self._last: Tree = {}
        self._waiting: Tree = {}
        self._rows: Tensor | None = None

    def note(
        self, bases: Tree, reads: Reads, rows: Tensor, there: Tensor | None, seed: int, step: int
    ) -> None:
        """Keep some inputs of rows (n, *shape), in place of what the last update read of the same ones.

        Args:
            there: which of their tokens (n, t) count; None: all.
        """
        if self._rows is None or not torch.equal(rows, self._rows):
            self._settle(bases, waiting=TOGETHER)
        self._rows, self._last = rows.detach().clone(), {}
        picks: Tensor | None = None
        for site, basis in bases.items():
            if site not in reads.inputs or not (site in self._sketches or self._room(basis)):
                continue
            if picks is None:
                picks = self._picks(reads.inputs[site][: len(rows)], there, seed, step)
            if len(picks):
                self._last[site] = units(reads.picked(site, picks))

    def _picks(self, inputs: Tensor, there: Tensor | None, seed: int, step: int) -> Tensor:
        """The places of a few tokens, by lot."""
        if there is None:
            places = torch.arange(inputs[..., 0].numel(), device=inputs.device)
        else:
            places = there.flatten().nonzero()[:, 0]
        count = min(self._tokens, len(places))
        return places[torch.from_numpy(choose(seed, "tokens", step, count, len(places))[0]).to(places.device)]

    def _room(self, basis: Tensor) -> int:
        return min(self._most, basis.shape[0]) - basis.shape[1]

    def _settle(self, bases: Tree, *, waiting: int = 0) -> None:
        """Sketch what the last update of the rows before these read, where more than so many inputs wait."""
        for site, found in self._last.items():
            self._waiting[site] = torch.cat([self._waiting[site], found]) if site in self._waiting else found
        self._last, self._rows = {}, None
        for site in [site for site, found in self._waiting.items() if len(found) > waiting]:
            found, basis = self._waiting.pop(site), bases[site]
            if site not in self._sketches:
                size, width = self._room(basis), basis.shape[0]
                self._sketches[site] = sketch(self.kind, size=size, width=width, novelty=self._novelty)
                self._inside[site] = basis.new_zeros(basis.shape[1])
            inside = found @ basis
            self._inside[site] = self._inside[site] + inside.square().sum(0)
            self._sketches[site].add(torch.addmm(found, inside, basis.T, alpha=-1))

    def turn(self, bases: Tree, others: Tree) -> None:
        """Others take the places of bases; energy along directions that are gone is forgotten."""
        for site, energies in self._inside.items():
            self._inside[site] = (bases[site].T @ others[site]).square().T @ energies

    def take(self, bases: Tree) -> Tree:
        """Rows (k, d) that stand for what was read at each site, by site; the next context begins."""
        self._settle(bases)
        found = {}
        for site, one in self._sketches.items():
            inside = self._inside[site].sqrt()[:, None] * bases[site].T
            found[site] = torch.cat([one.rows().to(inside), inside])
        self._sketches, self._inside = {}, {}
        return found

    def state(self) -> State:
        """The sketches, and what is not in them yet."""
        sketches = {site: one.state() for site, one in self._sketches.items()}
        sizes = {site: one.size for site, one in self._sketches.items()}
        return {
            "sketches": sketches,
            "sizes": sizes,
            "inside": dict(self._inside),
            "last": dict(self._last),
            "waiting": dict(self._waiting),
            "rows": self._rows,
        }

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        self._sketches = {}
        for site, saved in state["sketches"].items():
            width = saved["buffer" if "buffer" in saved else "slots"].shape[1]
            one = sketch(self.kind, size=int(state["sizes"][site]), width=width, novelty=self._novelty)
            one.load_state(saved)
            self._sketches[site] = one
        self._inside, self._last, self._waiting = (
            {site: found.detach().clone() for site, found in state[part].items()}
            for part in ("inside", "last", "waiting")
        )
        self._rows = None if state["rows"] is None else state["rows"].detach().clone()
