"""Joint training: keep every row and rehearse all of them. The upper bound; its memory is unbounded.

Between consolidations each batch is joined by rows drawn from everything seen; a consolidation
passes over all of it `epochs` times.
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.methods.shared.recipe import Recipe, Replay


def recipe(epochs: Annotated[int, Limits(low=0, usual=(1, 50), unit="passes")] = 1) -> Recipe:
    """Joint training.

    Args:
        epochs: passes over everything seen at each consolidation.

    >>> recipe().bounded
    False
    """
    return Recipe(name="joint", replay=(Replay(),), bounded=False, insertion="append", rehearsal=epochs)
