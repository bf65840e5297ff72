"""Mixed: within groups of equal size, rows that surprise and that no other row stands for.

    value = (rank(loss) + rank(novelty)) / 2,   P(give up rank r by value) ~ (r + 1)^(-1/T),   T = 1

What goes is easy and has a near twin. Age and use count for nothing: an old row goes for its value alone, and
a row that is drawn often is worth no more for it (see `memory/ranked.py`).
"""

from __future__ import annotations

from tenuto.errors import ConfigError
from tenuto.memory.ranked import Ranked

SURPRISE, TEMPERATURE = 0.5, 1.0


def policy(capacity: int | None, seed: int) -> Ranked:
    """Keep what surprises and is rare."""
    if capacity is None:
        raise ConfigError("keeping rows by value needs a capacity")
    return Ranked(capacity, seed, surprise=SURPRISE, temperature=TEMPERATURE)
