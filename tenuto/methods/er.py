"""Experience replay (Chaudhry et al. 2019): each batch is joined by rows from memory.

L = mean over fresh and replayed rows of the task's loss
"""

from __future__ import annotations

from tenuto.methods.shared.recipe import Recipe, Replay


def recipe(ratio: float | None = None) -> Recipe:
    """Experience replay.

    Args:
        ratio: replayed / all rows; None: the learner's `replay_ratio`.

    >>> recipe().replay
    (Replay(name='replay', ratio=None),)
    """
    return Recipe(name="er", replay=(Replay(ratio=ratio),))
