"""Dark experience replay (Buzzega et al. 2020): remembered rows keep the outputs they had.

L = CE(fresh) + alpha * ||z - z_stored||^2 on rows from memory
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.methods.shared.terms import Logits, Supervised


def recipe(
    alpha: Annotated[float, Limits(low=0.0, usual=(0.1, 1.0), unit="nats per squared logit")] = 1.0,
) -> Recipe:
    """DER.

    Args:
        alpha: weight of the stored outputs.

    >>> sorted(recipe().needs)
    ['logits']
    """
    return Recipe(
        name="der",
        terms=(Supervised(draws=()), Logits("logits", alpha)),
        replay=(Replay("logits"),),
        language=False,
    )
