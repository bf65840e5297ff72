"""OGP-LoRA-Stream: low-rank adapters that learn where nothing protected can see it (after Saha et al. 2021).

    y = W x + s (B_f A_f x + B (A - (A M) M^T) x)

At each consolidation what was learned freezes, M grows by the inputs of what was learned, and a new block
begins in its null space, with B = 0. Whatever the optimizer does then, the outputs on every sequence whose
inputs lie in the span of M stay as they are. No Fisher information, no pass over a data set. Where a wrong
answer is protected the basis gives way to its correction, and no further (`methods.shared.revision`).
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.methods.shared.anchors import Anchors
from tenuto.methods.shared.protection import Protection
from tenuto.methods.shared.recipe import Growth, Recipe, Replay
from tenuto.methods.shared.terms import Anchored, Supervised
from tenuto.sketches import KINDS

CAPACITY = 4096
"""Rows of the ring."""


def recipe(
    threshold: Annotated[float, Limits(low=0.0, high=1.0, usual=(0.95, 1.0))] = 0.99,
    directions: Annotated[int, Limits(low=1, high=65536, usual=(64, 384))] = 256,
    general: Annotated[int, Limits(low=0, high=65536, usual=(64, 256))] = 128,
    tokens: Annotated[int, Limits(low=1, high=1024, usual=(8, 32), unit="tokens")] = 16,
    rows: Annotated[int, Limits(low=0, high=65536, usual=(16, 256), unit="rows")] = 64,
    rank: Annotated[int, Limits(low=1, high=4096, usual=(16, 64))] = 64,
    every: Annotated[int, Limits(low=1, high=65536, usual=(1, 64), unit="new rows")] = 16,
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.05, 0.75))] = None,
    checkpoint: Annotated[int, Limits(low=1, usual=(50, 2000), unit="updates")] = 100,
    audit: Annotated[int, Limits(low=10, usual=(100, 5000), unit="updates")] = 500,
    weight: Annotated[float, Limits(low=0.0, usual=(0.0, 10.0), unit="nats per nat")] = 0.0,
    anchors: Annotated[int, Limits(low=1, high=1024, usual=(2, 16), unit="rows")] = 4,
    sketch: Annotated[str, Limits(choices=KINDS)] = "frequent_directions",
    novelty: Annotated[float, Limits(low=0.0, high=1.0, usual=(0.3, 0.7))] = 0.5,
    revise: bool = True,
    high: Annotated[float, Limits(low=0.0, usual=(0.1, 2.0), unit="nats")] = 0.5,
    neighbours: Annotated[int, Limits(low=0, high=1024, usual=(4, 64), unit="rows")] = 16,
    experts: Annotated[int, Limits(low=1, high=256, usual=(4, 16), unit="adapters")] = 1,
    active: Annotated[int, Limits(low=1, high=256, usual=(1, 4), unit="adapters")] = 2,
    wrong: Annotated[float | None, Limits(low=0.0, high=0.5, usual=(0.01, 0.1), unit="rows / rows")] = None,
) -> Recipe:
    """OGP-LoRA-Stream, for a model with low-rank adapters. Memory is a ring of the newest 4,096 rows where
    the settings name no other `insertion` or `memory_size`.

    Args:
        threshold: the share of the energy of a context's inputs that is protected when it ends.
        directions: columns of a site's basis, at most.
        general: of them for the inputs of general anchors, at most.
        tokens: inputs of each update that are sketched.
        rows: of each context that are read once more when it ends, as the model then reads them.
        rank: that the frozen blocks of a layer may reach together; beyond it they are compressed.
        every: new rows for each that is replayed.
        ratio: replayed / all rows, in place of that.
        checkpoint: updates after which a session takes a snapshot.
        audit: updates after which it is to be asked held-out rows.
        weight: of the divergence from the first answers to general anchors; 0: they only seed the bases.
        anchors: rows of them that join a step, where they weigh anything.
        sketch: how a context's inputs are sketched; "gram_schmidt" admits directions from learned rows alone,
            those whose loss is below `high`, and when full replaces the one least used lately.
        novelty: the share of an input's length that "gram_schmidt" must find new to admit it.
        revise: does a basis give way to the correction of something that it protects?
        high: the loss from which a row counts as wrong.
        neighbours: remembered rows that a revision spares.
        experts: adapters beside each layer, each with blocks and bases of its own (`adapters.experts`).
        active: of them that answer a row, chosen by its question for ever.
        wrong: a router before the adapter, which takes this share of rows like the anchors for a learned one,
            as `anchored` has it; None: no router.

    >>> recipe(directions=64).blocks
    64
    """
    protection = Protection(
        threshold=threshold,
        most=directions,
        general=general,
        tokens=tokens,
        sketch=sketch,
        novelty=novelty,
        revise=revise,
        high=high,
        neighbours=neighbours,
    )
    return Recipe(
        name="ogp_lora",
        terms=(Supervised(draws=("replay",)), Anchored("anchors", weight)) if weight else (Supervised(),),
        estimator=protection.estimate,
        rules=(protection,),
        replay=(Replay(every=every) if ratio is None else Replay(ratio=ratio),),
        insertion="fifo",
        sampling="unprotected",
        capacity=CAPACITY,
        checkpoint=checkpoint,
        audit=audit,
        anchors=Anchors(),
        anchored=anchors if weight else 0,
        context=rows,
        protection=protection,
        blocks=rank,
        experts=experts,
        active=min(active, experts),
        growth=None if wrong is None else Growth(most=1, wrong=wrong, neighbours=True),
    )
