"""Gradient-based sample selection (GSS-greedy, Aljundi et al. 2019): replay of rows that differ.

L = mean over fresh and replayed rows of the task's loss; memory keeps rows whose gradients point
elsewhere than those of the rows it holds (`memory/insertion/gss.py`)
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.methods.shared.recipe import Recipe, Replay


def recipe(
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.3, 0.5), unit="rows / rows")] = None,
) -> Recipe:
    """GSS-greedy.

    Args:
        ratio: replayed / all rows; None: the learner's `replay_ratio`.

    >>> recipe().insertion
    'gss'
    """
    return Recipe(name="gss", replay=(Replay(ratio=ratio),), insertion="gss")
