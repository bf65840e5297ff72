"""The pace of learning: what share of its learning rate a step takes.

    an episode of n steps   rises over the first, then falls: 1/2 (1 + cos(pi progress)), down to a floor
    a stream without end    rises over the first steps, and stays

It is a factor, a function of a step's number alone, so that a replay needs no schedule of its own.
"""

from __future__ import annotations

import math


def warmed(step: int, over: int) -> float:
    """The factor of a step, from 0, of a stream without end: it rises over so many steps, and is 1 then.

    >>> [warmed(step, 4) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / over) if over else 1.0


def cosine(step: int, steps: int, *, warm: float = 0.1, floor: float = 0.5) -> float:
    """The factor of a step, from 0, of an episode of so many: warm-up, then half a cosine down to a floor.

    Progress is clamped at the end: a step beyond it has the factor of the last one. An episode of one step
    neither rises nor falls.

    Args:
        warm: share of the steps over which it rises, at most all but the last.
        floor: what is left at the end.

    >>> [round(cosine(step, 7, warm=0.2, floor=0.1), 3) for step in range(9)]
    [0.333, 0.667, 1.0, 0.868, 0.55, 0.232, 0.1, 0.1, 0.1]
    >>> cosine(0, 1)
    1.0
    """
    rise = min(math.ceil(warm * steps), steps - 1)
    if step < rise:
        return (step + 1) / (rise + 1)
    falls = steps - 1 - rise
    progress = min((step - rise) / falls, 1.0) if falls else 0.0
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
