"""DER++ (Buzzega et al. 2020): stored outputs, and labels on a second, independent draw.

L = CE(fresh) + alpha * ||z - z_stored||^2 on one draw + beta * CE on another
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.methods.shared.terms import Logits, Supervised


def recipe(
    alpha: Annotated[float, Limits(low=0.0, usual=(0.1, 1.0), unit="nats per squared logit")] = 1.0,
    beta: Annotated[float, Limits(low=0.0, usual=(0.5, 1.0))] = 0.5,
) -> Recipe:
    """DER++, in one joined forward.

    Args:
        alpha: weight of the stored outputs.
        beta: weight of the labels of the second draw.

    >>> [draw.name for draw in recipe().replay]
    ['labels', 'logits']
    """
    return Recipe(
        name="derpp",
        language=False,
        terms=(
            Supervised(draws=()),
            Supervised(draws=("labels",), fresh=False, weight=beta),
            Logits("logits", alpha),
        ),
        replay=(Replay("labels"), Replay("logits")),
    )
