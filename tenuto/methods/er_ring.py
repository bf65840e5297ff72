"""Experience replay from rings (ER-ring, Chaudhry et al. 2019): the newest rows of every class.

L = mean over fresh and replayed rows of the task's loss; each class holds an equal share of memory
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.methods.shared.recipe import Recipe, Replay


def recipe(
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.3, 0.5), unit="rows / rows")] = None,
) -> Recipe:
    """ER-ring.

    Args:
        ratio: replayed / all rows; None: the learner's `replay_ratio`.

    >>> recipe().insertion
    'ring'
    """
    return Recipe(name="er_ring", replay=(Replay(ratio=ratio),), insertion="ring")
