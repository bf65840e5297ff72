"""Surprise: within groups of equal size, the rows the learner answers worst.

    P(give up the row of rank r by loss) ~ (r + 1)^(-1/T),   T = 1,   r = 0 the smallest loss

Losses are ranked within a group and refreshed whenever a row is replayed, so a row that was hard only because
the model was young gives way once it is learned; the draw keeps some easy rows, for the largest losses are
also those of wrong labels. Ranks and not exp(loss): no loss is too large (see `memory/ranked.py`).
"""

from __future__ import annotations

from tenuto.errors import ConfigError
from tenuto.memory.ranked import Ranked

TEMPERATURE = 1.0


def policy(capacity: int | None, seed: int) -> Ranked:
    """Keep what surprises."""
    if capacity is None:
        raise ConfigError("keeping what surprises needs a capacity")
    return Ranked(capacity, seed, surprise=1.0, temperature=TEMPERATURE)
