"""GDumb (Prabhu et al. 2020): fill a balanced memory greedily, and learn from that alone, from scratch.

A step only looks; a consolidation goes back to the initial weights and passes over memory `epochs` times.
What is known after it depends on memory alone, so it forgets nothing but what memory dropped; until the
first one the learner answers as it was made.
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.methods.shared.idle import Rehearsing
from tenuto.methods.shared.recipe import Recipe


def recipe(epochs: Annotated[int, Limits(low=1, usual=(10, 256), unit="passes")] = 30) -> Recipe:
    """GDumb.

    Args:
        epochs: passes over memory at each consolidation.

    >>> recipe().restart
    True
    """
    rehearsing = Rehearsing()
    return Recipe(
        name="gdumb",
        estimator=rehearsing.estimate,
        rules=(rehearsing,),
        remembers=True,
        insertion="greedy",
        rehearsal=epochs,
        restart=True,
    )
