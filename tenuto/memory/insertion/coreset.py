"""Coreset: within groups of equal size, rows far from one another (k-centre; Sener & Savarese 2018).

    give up argmin_i novelty_i,   novelty_i = min_{j != i} |x_i - x_j| over the rows held and the new one

The greedy k-centre rule as it can be kept on a stream: of the closest pair one goes, so the least distance in
a group never falls while its size stands. The new row gives way among equals, so a repeated row is never held
twice for long (see `memory/ranked.py`).
"""

from __future__ import annotations

from tenuto.errors import ConfigError
from tenuto.memory.ranked import Ranked


def policy(capacity: int | None, seed: int) -> Ranked:
    """Keep what is far apart."""
    if capacity is None:
        raise ConfigError("a coreset needs a capacity")
    return Ranked(capacity, seed, surprise=0.0, temperature=0.0)
