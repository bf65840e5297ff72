"""Replay with anchors: what the model knew before is held by rows of its own, not by those it learns.

    L = CE(fresh and replayed rows) + weight * KL(first answers || answers now) on anchors

Replaying corrections protects the corrections and nothing else. Anchors are rows that are never learned, as
texts the model wrote itself; `Learner.anchor` takes them before the first step. Without any it is replay.
With `wrong` a router goes before the adapter (adapters/neighbours.py): what is unlike every learned row is
answered by the base as it was, word for word.
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.methods.shared.anchors import Anchors
from tenuto.methods.shared.recipe import Growth, Recipe, Replay
from tenuto.methods.shared.terms import Anchored, Supervised


def recipe(
    weight: Annotated[float, Limits(low=0.0, usual=(1.0, 10.0), unit="nats per nat")] = 4.0,
    anchors: Annotated[int, Limits(low=1, high=1024, usual=(2, 16), unit="rows")] = 4,
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.3, 0.5))] = None,
    wrong: Annotated[float | None, Limits(low=0.0, high=0.5, usual=(0.01, 0.1), unit="rows / rows")] = None,
) -> Recipe:
    """Replay with anchors.

    Args:
        weight: of the divergence from the first answers.
        anchors: rows of them that join a step.
        ratio: replayed / (fresh + replayed) rows; None: the learner's `replay_ratio`.
        wrong: answer with the adapter only what is like a learned row, and all else with the bare base, so
            that of rows like the anchors this share is taken for a learned one; None: all with the adapter.

    >>> recipe().anchored, recipe(wrong=0.02).growth.neighbours
    (4, True)
    """
    return Recipe(
        name="anchored",
        terms=(Supervised(draws=("replay",)), Anchored("anchors", weight)),
        replay=(Replay(ratio=ratio),),
        anchors=Anchors(),
        anchored=anchors,
        growth=None if wrong is None else Growth(most=1, wrong=wrong, neighbours=True),
    )
