"""What an episode did to a language model, in four numbers.

base retention      how much of what the base answers first is answered so still
accumulation        how many approved corrections are answered right
adapter stability   how far the adapter's weights moved: |after - before| / |before|
response quality    the mean log-likelihood of a token of the approved answers; perplexity is its exp(-)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, sqrt

import numpy as np
from numpy.typing import ArrayLike

from tenuto.errors import ConfigError


def agreement(first: ArrayLike, now: ArrayLike, *, counted: ArrayLike | None = None) -> float | None:
    """The share of answers that are the same as at first; None where there are none.

    Args:
        first, now: tokens or labels, of one shape.
        counted: which of them count; None: all.

    >>> agreement([1, 2, 3, 0], [1, 2, 4, 9], counted=[True, True, True, False])
    0.6666666666666666
    """
    before, after = np.asarray(first), np.asarray(now)
    which = np.ones(before.shape, bool) if counted is None else np.asarray(counted, dtype=bool)
    if not before.shape == after.shape == which.shape:
        raise ConfigError(
            f"answers of shape {before.shape} are compared with {after.shape}: give one for each"
        )
    return float((before == after)[which].mean()) if which.any() else None


def share(right: Sequence[bool]) -> float | None:
    """The share of what is right; None of nothing.

    >>> share([True, False]), share([])
    (0.5, None)
    """
    return sum(right) / len(right) if right else None


def drift(before: Mapping[str, ArrayLike], after: Mapping[str, ArrayLike]) -> float:
    """|after - before| / |before|, over all weights of these names together.

    >>> drift({"a": [3.0], "b": [4.0]}, {"a": [3.0], "b": [4.5]})
    0.1
    """
    if before.keys() != after.keys():
        raise ConfigError(f"weights are on one side only: {sorted(before.keys() ^ after.keys())[:3]}")
    moved = whole = 0.0
    for name, known in before.items():
        old, new = np.asarray(known, dtype=np.float64), np.asarray(after[name], dtype=np.float64)
        moved, whole = moved + float(((new - old) ** 2).sum()), whole + float((old**2).sum())
    return sqrt(moved / whole) if whole else 0.0


def perplexity(losses: Sequence[float]) -> float | None:
    """exp of the mean loss in nats per token; None of nothing.

    >>> perplexity([0.0, 1.3862943611198906])
    2.0
    """
    return exp(min(sum(losses) / len(losses), 700.0)) if losses else None


def lost(before: Sequence[bool], after: Sequence[bool]) -> float | None:
    """Of what was right before, the share that is right no longer; None where nothing was.

    >>> lost([True, True, False], [True, False, True])
    0.5
    """
    if len(before) != len(after):
        raise ConfigError(f"{len(before)} answers are compared with {len(after)}: give one for each")
    known = [now for then, now in zip(before, after, strict=True) if then]
    return 1 - sum(known) / len(known) if known else None
