"""Dark experience replay (Buzzega et al. 2020): remembered rows keep the outputs they had.

L = CE(fresh) + alpha * ||z - z_stored||^2 on rows from memory
"""

from __future__ import annotations

from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.methods.shared.terms import Logits, Supervised


def recipe(alpha: float = 1.0) -> Recipe:
    """DER.

    Args:
        alpha: weight of the stored outputs.

    >>> sorted(recipe().needs)
    ['logits']
    """
    return Recipe(
        name="der", terms=(Supervised(draws=()), Logits("logits", alpha)), replay=(Replay("logits"),)
    )
