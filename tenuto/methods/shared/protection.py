"""Protection: what adapters read is sketched as it streams by, and protected when a context ends.

    M_site <- M_site and the leading directions of the context's inputs, until |X M|^2 / |X|^2 >= threshold

X are unit-normalised inputs of tokens: some of each batch, as its last update read them, sketched by
Frequent Directions, and those of the rows that the context kept, as they are read once it is learned. A basis
never has more than `most` columns, of which general anchors take a share.

A row that is wholly protected has no gradient left: kappa = |G (I - M M^T)| / |G| tells, with G that of the
whole weights on the fresh rows. Below `STILL` no step is made, for it would be one along rounding noise.
Where the loss of an answer's token is high and its own kappa below `BARRED`, the bases give way to it
(`revision`). A new block spends its first update on being aimed: its A begins at what the rows of that update
read outside the basis, and not where it was drawn.

The invariant: bases change at a commit or by a revision, and in no other way.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tenuto import subspace
from tenuto.errors import StateError
from tenuto.methods.shared.estimators import plain
from tenuto.methods.shared.kappa import retained, unprotected
from tenuto.methods.shared.revision import NOTHING, Revision, hidden, losses, present, revised
from tenuto.methods.shared.saturation import Saturation, captured
from tenuto.modes import evaluating
from tenuto.protocols import Objective, Oracle, View
from tenuto.protocols.adapters import Adapter, Reads
from tenuto.randomness import choose
from tenuto.subspace import FrequentDirections
from tenuto.trees import Tree, zeros
from tenuto.types import Batch, Estimate, State, Trace, Update

STILL, BARRED = 1e-3, 1e-2
"""Of kappa."""
HALF_LIFE = 100
"""Updates after which a kappa counts half in their running mean."""
TOGETHER = 8
"""Rows that are read at once when a context ends."""


@dataclass(slots=True)
class Seen:
    """What one look at a batch showed."""

    objective: Objective
    params: Tree
    adapter: Adapter
    reads: Reads
    batch: Batch
    kept: Tensor | None
    kappa: float
    barred: Tensor | None
    captured: dict[str, float] | None


class Protection:
    """Estimates, holds updates that have nothing left to say, and protects what was learned.

    Args:
        threshold: the share of the energy of a context's inputs that is protected when it ends.
        most: columns of a basis.
        general: of them at most for general anchors.
        tokens: inputs sketched of each batch.
        revise: does a basis give way to a wrong row that it bars?
        high: the loss of such a token, in nats.
        neighbours: remembered rows that a revision spares.
    """

    def __init__(
        self,
        *,
        threshold: float,
        most: int,
        general: int,
        tokens: int,
        revise: bool = True,
        high: float = 0.5,
        neighbours: int = 16,
    ) -> None:
        self._threshold, self._most, self._general, self._tokens = threshold, most, general, tokens
        self._revise, self._high, self._neighbours = revise, high, neighbours
        self._sketches: dict[str, FrequentDirections] = {}
        self._last: Tree = {}
        self._rows: Tensor | None = None
        self._captured: dict[str, float] = {}
        self._kappa = 1.0
        self._stills = 0
        self._released: dict[str, float] = {}
        self._revisions = 0
        self._saturation = Saturation()
        self._seen: Seen | None = None
        self._pending: Revision | None = None

    def estimate(self, objective: Objective, params: Tree, batch: Batch) -> Estimate:
        """The plain estimate, and how much of it the bases leave."""
        adapter = adapted(objective)
        with adapter.reading() as reads:
            found = plain(objective, params, batch)
        kept, fresh = present(objective.module, batch.inputs), batch.fresh
        kappa, barred, full = 1.0, None, None
        if fresh and (kappa := retained(adapter.bases, reads, slice(0, fresh))) < 1.0:
            wrong = losses(objective.task, found.outputs[:fresh], batch.targets[:fresh]) > self._high
            if bool(wrong.any()):
                barred = self._barred(wrong, objective, adapter, reads, batch) if self._revise else None
                spent = self._saturation.spent
                full = captured(adapter.bases, reads, slice(0, fresh), kept) if spent else {}
        self._seen = Seen(objective, params, adapter, reads, batch, kept, kappa, barred, full)
        self._pending = None
        left = unprotected(adapter.bases, reads, kept) if batch.replayed else None
        return Estimate(found.loss, found.outputs, found.grads, unprotected=left)

    def project(self, update: Update, oracle: Oracle) -> Update:
        """The update; none where the gradient is noise, or where the basis gives way or the block begins."""
        seen = self._taken()
        if seen.barred is not None:
            near, fresh = oracle.recall(self._neighbours, "neighbours"), seen.batch.fresh
            rows = Batch(seen.batch.inputs[:fresh], seen.batch.targets[:fresh])
            self._pending = revised(seen.adapter, seen.objective, seen.params, rows, seen.barred, near)
        if seen.kappa < STILL or self._pending is not None or not seen.adapter.aimed:
            return Update(zeros(update.tree), update.scale, update.linear)
        return update

    def _barred(
        self, wrong: Tensor, objective: Objective, adapter: Adapter, reads: Reads, batch: Batch
    ) -> Tensor | None:
        """Which of the wrong answers (n, l) of the fresh rows cannot be learned; None where all can."""
        seen = hidden(adapter.bases, reads, objective.module, batch.inputs[: batch.fresh])
        barred = wrong[:, : seen.shape[1]] & (seen < BARRED**2)
        return barred if bool(barred.any()) else None

    def observe(self, trace: Trace) -> None:
        """Sketch some inputs of the fresh rows; let the basis give way where it must."""
        seen = self._taken()
        weight = 2 ** (-1 / HALF_LIFE)
        self._kappa = weight * self._kappa + (1 - weight) * seen.kappa
        self._stills += seen.kappa < STILL
        if seen.captured is not None and (
            pruned := self._saturation.prune(seen.kappa, seen.adapter.bases, seen.captured)
        ):
            seen.adapter.commit(pruned)
        elif self._pending is not None:
            self._saturation.turn(seen.adapter.bases, self._pending.bases)
            seen.adapter.commit(self._pending.bases)
            self._revisions += 1
            for site, share in self._pending.released.items():
                self._released[site] = self._released.get(site, 0.0) + share
        if seen.batch.fresh:
            if seen.kappa >= STILL or self._pending is not None:
                self._aim(seen)
            self._note(seen, trace.step)
        self._seen = self._pending = None

    def _aim(self, seen: Seen) -> None:
        """Begin a new block at what the fresh rows give each site."""
        if not seen.adapter.aimed:
            fresh = slice(0, seen.batch.fresh)
            sites = seen.reads.inputs
            seen.adapter.aim({site: units(seen.reads.rows(site, fresh, seen.kept)) for site in sites})

    def _note(self, seen: Seen, step: int) -> None:
        """Keep some inputs of the fresh rows, in place of what the last update read of the same ones."""
        fresh = slice(0, seen.batch.fresh)
        rows = seen.batch.inputs[fresh]
        if self._rows is None or not torch.equal(rows, self._rows):
            self._settle()
        self._rows = rows.detach().clone()
        picks: Tensor | None = None
        for site in seen.reads.inputs:
            found = seen.reads.rows(site, fresh, seen.kept)
            if picks is None:
                count = min(self._tokens, len(found))
                drawn = choose(seen.objective.seed, "tokens", step, count, len(found))[0]
                picks = torch.from_numpy(drawn).to(found.device)
            self._last[site] = units(found[picks])

    def _settle(self) -> None:
        """Sketch what the last update of the rows before these read."""
        for site, found in self._last.items():
            if site not in self._sketches:
                width = found.shape[1]
                self._sketches[site] = FrequentDirections(size=min(self._most, width), width=width)
            self._sketches[site].add(found)
        self._last, self._rows = {}, None

    def consolidate(self, view: View) -> None:
        """Protect what this context's rows give each site, and begin new blocks."""
        adapter = adapted(view.objective)
        self._settle()
        read = {} if view.context is None else inputs(adapter, view.objective, view.context)
        if not read and not self._sketches:
            return
        bases = adapter.bases
        for site, held in bases.items():
            rows = [read[site]] if site in read else []
            if site in self._sketches:
                rows.append(self._sketches[site].rows())
            bases[site] = self._cover(site, held, torch.cat(rows), self._most)
        adapter.commit(bases)
        self._sketches = {}

    def hold(self, objective: Objective, rows: Batch) -> None:
        """Protect what general anchors give each site, before anything is learned."""
        adapter, bases = adapted(objective), {}
        read = inputs(adapter, objective, rows)
        for site, held in adapter.bases.items():
            bases[site] = self._cover(site, held, read[site], min(self._general, self._most))
        adapter.commit(bases)

    def _cover(self, site: str, held: Tensor, rows: Tensor, most: int) -> Tensor:
        basis = subspace.cover(held, rows, threshold=self._threshold, most=most)
        self._captured[site] = subspace.captured(rows, basis)
        self._saturation.follow(site, held, basis, rows)
        return basis

    def _taken(self) -> Seen:
        if self._seen is None:
            raise StateError("an update is projected that this method did not estimate")
        return self._seen

    def told(self) -> dict[str, dict[str, float]]:
        """By site: the energy captured when the last context ended, the share of directions that revisions
        released, and that of energy that saturation did: the budget of forgetting that is spent."""
        told = {"captured": self._captured, "released": self._released, "budget": self._saturation.budget}
        return {name: dict(shares) for name, shares in told.items()}

    def state(self) -> State:
        """The sketches of the present context, and what is told."""
        sketches = {site: sketch.state() for site, sketch in self._sketches.items()}
        counts = {"kappa": self._kappa, "stills": self._stills, "revisions": self._revisions}
        saved = {"last": dict(self._last), "rows": self._rows, "saturation": self._saturation.state()}
        shares = {"captured": dict(self._captured), "released": dict(self._released)}
        return {"sketches": sketches, **saved, **counts, **shares}

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        self._sketches = {}
        for site, saved in state["sketches"].items():
            size, width = saved["buffer"].shape
            self._sketches[site] = FrequentDirections(size=size // 2, width=width)
            self._sketches[site].load_state(saved)
        self._last = {site: found.detach().clone() for site, found in state["last"].items()}
        self._rows = None if state["rows"] is None else state["rows"].detach().clone()
        self._captured, self._released = dict(state["captured"]), dict(state["released"])
        self._kappa, self._stills = float(state["kappa"]), int(state["stills"])
        self._revisions = int(state["revisions"])
        self._saturation.load_state(state["saturation"])
        self._seen = self._pending = None


def adapted(objective: Objective) -> Adapter:
    """The adapter that learns. StateError where the model has none in blocks."""
    if objective.adapter is None:
        raise StateError(
            "the model's adapter is not made of blocks: the recipe says how many ranks it may have"
        )
    return objective.adapter


def units(rows: Tensor) -> Tensor:
    """Rows (n, d) of length 1 in float32; those without a direction, or not finite, are left out.

    >>> units(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000]])
    """
    rows = rows.detach().float()
    lengths = rows.norm(dim=1)
    return F.normalize(rows[(lengths > NOTHING) & lengths.isfinite()], dim=1)


def inputs(adapter: Adapter, objective: Objective, batch: Batch) -> Tree:
    """What every token of these rows gives each site, unit-normalised (k, d), in evaluation mode."""
    found: dict[str, list[Tensor]] = {}
    with evaluating(objective.module), torch.no_grad():
        for some in torch.split(batch.inputs, TOGETHER):
            with adapter.reading() as reads:
                objective.module(some)
            kept = present(objective.module, some)
            for site in reads.inputs:
                found.setdefault(site, []).append(units(reads.rows(site, slice(None), kept)))
    return {site: torch.cat(rows) for site, rows in found.items()}
