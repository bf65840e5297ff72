"""Protection: what adapters read is sketched as it streams by, and protected when a context ends.

    M_site <- M_site and the leading directions of the context's inputs, until |X M|^2 / |X|^2 >= threshold

X are unit-normalised inputs of tokens: some of each batch, as its last update read them, sketched by
Frequent Directions, and those of the rows that the context kept, as they are read once it is learned. A basis
never has more than `most` columns, of which general anchors take a share.

A row that is wholly protected has no gradient left: kappa = |G (I - M M^T)| / |G| tells, with G that of the
whole weights on the fresh rows. Below `STILL` no step is made, for it would be one along rounding noise.
Where the loss of an answer's token is high and its own kappa below `BARRED`, the bases give way to it
(`revision`). A new block is aimed by its first update: its A begins at what the rows of that update read
outside the basis, and not where it was drawn, and its B has the gradient that it has there.

The invariant: bases change at a commit or by a revision, and in no other way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tenuto import subspace
from tenuto.errors import OutOfMemory, StateError
from tenuto.methods.shared.estimators import plain
from tenuto.methods.shared.retention import Retention, Sizes, share, sizes
from tenuto.methods.shared.revision import Revision, losses, revised
from tenuto.methods.shared.saturation import Saturation, captured
from tenuto.methods.shared.site_inputs import inputs, present
from tenuto.methods.shared.sketching import Sketching
from tenuto.methods.shared.unheld import hidden, units, unprotected
from tenuto.protocols import Objective, Oracle, View
from tenuto.protocols.adapters import Adapter, Reads
from tenuto.trees import Tree, zeros
from tenuto.types import Batch, Estimate, State, Trace, Update

STILL, BARRED = 1e-3, 1e-2
"""Of kappa."""


@dataclass(slots=True)
class Seen:
    """What one look at a batch showed."""

    objective: Objective
    params: Tree
    adapter: Adapter
    reads: Reads
    starts: Tree
    batch: Batch
    kept: Tensor | None
    sizes: Sizes
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
        sketch: its kind, of `tenuto.sketches.KINDS`. Gram-Schmidt sees no row whose loss is `high`.
        novelty: as of `tenuto.sketches.GramSchmidt`.
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
        sketch: str = "frequent_directions",
        novelty: float = 0.5,
        revise: bool = True,
        high: float = 0.5,
        neighbours: int = 16,
    ) -> None:
        self._threshold, self._most, self._general = threshold, most, general
        self._revise, self._high, self._neighbours = revise, high, neighbours
        self._sketching = Sketching(kind=sketch, novelty=novelty, most=most, tokens=tokens)
        self._captured: dict[str, float] = {}
        self._retention = Retention()
        self._stills = 0
        self._released: dict[str, float] = {}
        self._given: dict[str, int] = {}
        self._revisions = 0
        self._saturation = Saturation()
        self._seen: Seen | None = None
        self._pending: Revision | None = None

    def estimate(self, objective: Objective, params: Tree, batch: Batch) -> Estimate:
        """The plain estimate, and how much of it the bases leave.

        Raises:
            OutOfMemory: the batch fits in parts alone, and what it reads is to be seen whole.
        """
        adapter = adapted(objective)
        kept, fresh = present(objective.module, batch.inputs), batch.fresh
        pick = partial(_fresh, fresh, kept)
        with adapter.reading() as reads, adapter.aiming(pick) as starts:
            found = plain(objective, params, batch)
        if found.parts > 1:
            raise OutOfMemory(
                f"the update on {len(batch)} rows does not fit into memory, and protection sees the whole "
                "batch inside the model: learn or replay fewer rows at once"
            )
        told = sizes(adapter.bases, reads, slice(0, fresh)) if fresh else {}
        kappa, barred, full = share(told), None, None
        if kappa < 1.0:
            wrong = losses(objective.task, found.outputs[:fresh], batch.targets[:fresh]) > self._high
            if bool(wrong.any()):
                barred = self._barred(wrong, objective, adapter, reads, batch) if self._revise else None
                spent = self._saturation.spent
                full = captured(adapter.bases, reads, slice(0, fresh), kept) if spent else {}
        self._seen = Seen(objective, params, adapter, reads, starts, batch, kept, told, kappa, barred, full)
        self._pending = None
        left = unprotected(adapter.bases, reads, kept, fresh) if batch.replayed else None
        return Estimate(found.loss, found.outputs, found.grads, unprotected=left)

    def project(self, update: Update, oracle: Oracle) -> Update:
        """The update; none where the gradient is noise, or the basis gives way, or no row tells a new block
        where to begin."""
        seen = self._taken()
        if seen.barred is not None:
            near, fresh = oracle.recall(self._neighbours, "neighbours"), seen.batch.fresh
            rows = Batch(seen.batch.inputs[:fresh], seen.batch.targets[:fresh])
            self._pending = revised(seen.adapter, seen.objective, seen.params, rows, seen.barred, near)
        begins = bool(seen.batch.fresh) or seen.adapter.aimed
        if seen.kappa < STILL or self._pending is not None or not begins:
            return Update(zeros(update.tree), update.scale, update.linear)
        return update

    def _barred(
        self, wrong: Tensor, objective: Objective, adapter: Adapter, reads: Reads, batch: Batch
    ) -> Tensor | None:
        """Which of the wrong answers (n, l) of the fresh rows cannot be learned; None where all can."""
        rows, module = batch.inputs[: batch.fresh], objective.module
        barred = hidden(adapter.bases, reads, module, rows, wrong, below=BARRED**2)
        return barred if bool(barred.any()) else None

    def observe(self, trace: Trace) -> None:
        """Sketch some inputs of the fresh rows; let the basis give way where it must."""
        seen = self._taken()
        self._retention.note(seen.sizes)
        still = seen.kappa < STILL
        self._stills += still
        if seen.batch.fresh and not still and self._pending is None:
            seen.adapter.aim(seen.starts)
        if seen.captured is not None and (
            pruned := self._saturation.prune(seen.kappa, seen.adapter.bases, seen.captured)
        ):
            self._turn(seen.adapter, pruned)
        elif self._pending is not None:
            self._saturation.turn(seen.adapter.bases, self._pending.bases)
            self._turn(seen.adapter, self._pending.bases)
            self._revisions += 1
            for site, lost in self._pending.released.items():
                self._released[site] = self._released.get(site, 0.0) + lost
                self._given[site] = self._given.get(site, 0) + (lost > 0)
        if seen.batch.fresh:
            if not still or self._pending is not None:
                self._aim(seen)
            self._note(seen, trace)
        self._seen = self._pending = None

    def _aim(self, seen: Seen) -> None:
        """Begin blocks beside bases that just gave way at what the fresh rows give each site."""
        if not seen.adapter.aimed:
            pick, read = partial(_fresh, seen.batch.fresh, seen.kept), seen.reads.inputs
            seen.adapter.aim({site: seen.adapter.start(site, pick(inputs)) for site, inputs in read.items()})

    def _turn(self, adapter: Adapter, bases: Tree) -> None:
        """Let bases take the places of those there are."""
        self._sketching.turn(adapter.bases, bases)
        adapter.commit(bases)

    def _note(self, seen: Seen, trace: Trace) -> None:
        """Sketch some inputs of the fresh rows; by Gram-Schmidt, of those that are learned."""
        fresh, objective = seen.batch.fresh, seen.objective
        there = None if seen.kept is None else seen.kept[:fresh]
        if self._sketching.kind == "gram_schmidt":
            outputs, targets = trace.estimate.outputs[:fresh], seen.batch.targets[:fresh]
            learned = objective.task.losses(outputs, targets)[:, None] < self._high
            there = learned if there is None else there & learned
        rows = seen.batch.inputs[:fresh]
        self._sketching.note(seen.adapter.bases, seen.reads, rows, there, objective.seed, trace.step)

    def consolidate(self, view: View) -> None:
        """Protect what this context's rows give each site, and begin new blocks."""
        adapter = adapted(view.objective)
        held, seen, covered = adapter.bases, self._sketching.take(adapter.bases), Tree()
        read = () if view.context is None else inputs(adapter, view.objective, view.context)
        for site, rows in read:
            every = torch.cat([rows, seen.pop(site)]) if site in seen else rows
            covered[site] = self._cover(site, held[site], every, self._most)
        for site, rows in seen.items():
            covered[site] = self._cover(site, held[site], rows, self._most)
        if covered:
            adapter.commit(held | covered)

    def hold(self, objective: Objective, rows: Batch) -> None:
        """Protect what general anchors give each site, before anything is learned."""
        adapter, most = adapted(objective), min(self._general, self._most)
        adapter.settle(rows.inputs)
        held = adapter.bases
        read = inputs(adapter, objective, rows)
        covered = {site: self._cover(site, held[site], found, most) for site, found in read}
        adapter.commit(held | covered)

    def _cover(self, site: str, held: Tensor, rows: Tensor, most: int) -> Tensor:
        basis = subspace.cover(held, rows, threshold=self._threshold, most=most)
        self._captured[site] = subspace.captured(rows, basis)
        self._saturation.follow(site, held, basis, rows)
        return basis

    def _taken(self) -> Seen:
        if self._seen is None:
            raise StateError("an update is projected that this method did not estimate")
        return self._seen

    def told(self) -> dict[str, dict[str, Any]]:
        """By site: the energy captured when the last context ended, the running mean of kappa, how many
        revisions took directions away, the shares of them that they released, and the share of energy that
        saturation did: the budget of forgetting that is spent."""
        return {
            "captured": dict(self._captured),
            "released": dict(self._released),
            "kappas": dict(self._retention.sites),
            "given": dict(self._given),
            "budget": dict(self._saturation.budget),
        }

    def state(self) -> State:
        """The sketches of the present context, and what is told."""
        counts = {"kappa": self._retention.kappa, "stills": self._stills, "revisions": self._revisions}
        parts = {"sketching": self._sketching.state(), "saturation": self._saturation.state()}
        shares = {name: told for name, told in self.told().items() if name != "budget"}
        return parts | counts | shares

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        self._sketching.load_state(state["sketching"])
        self._captured, self._released = dict(state["captured"]), dict(state["released"])
        self._retention.kappa, self._retention.sites = float(state["kappa"]), dict(state["kappas"])
        self._stills, self._revisions = int(state["stills"]), int(state["revisions"])
        self._given = dict(state["given"])
        self._saturation.load_state(state["saturation"])
        self._seen = self._pending = None


def _fresh(count: int, kept: Tensor | None, inputs: Tensor) -> Tensor:
    """What the first `count` rows of inputs (n, ..., d) give, unit-normalised (k, d)."""
    some = inputs[:count]
    return units(some.flatten(0, -2) if kept is None else some[kept[: len(some)]])


def adapted(objective: Objective) -> Adapter:
    """The adapter that learns. StateError where the model has none in blocks."""
    if objective.adapter is None:
        raise StateError(
            "the model's adapter is not made of blocks: the recipe says how many ranks it may have"
        )
    return objective.adapter
