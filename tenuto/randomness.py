"""Counter-based randomness: every draw is a pure function of (seed, purpose, counter).

There is no generator state to save or to lose. Draws are splitmix64 (Steele et al. 2014) over a
key made by hashing (seed, purpose); the same counter gives the same number on every machine.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 2.0**-53
_WIDTH = np.uint64(20)


@lru_cache(maxsize=4096)
def key(seed: int, purpose: str) -> np.uint64:
    """64 bits that name a purpose under a seed."""
    digest = hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def uniform(seed: int, purpose: str, counters: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform draws in [0, 1), one per counter.

    Args:
        counters: uint64 of any shape; each names its draw.

    >>> uniform(0, "demo", np.arange(2, dtype=np.uint64)).round(4).tolist()
    [0.8563, 0.06]
    """
    x = counters * _GAMMA
    x += key(seed, purpose)
    x ^= x >> _S30
    x *= _MIX1
    x ^= x >> _S27
    x *= _MIX2
    x ^= x >> _S31
    return (x >> _S11).astype(np.float64) * _UNIT


def span(step: int, n: int, steps: int = 1) -> NDArray[np.uint64]:
    """The counters (steps, n) that belong to consecutive steps; no two steps share one."""
    starts = np.arange(step, step + steps, dtype=np.uint64) << _WIDTH
    return np.asarray(starts[:, None] + np.arange(n, dtype=np.uint64), dtype=np.uint64)


def choose(seed: int, purpose: str, step: int, n: int, size: int, steps: int = 1) -> NDArray[np.int64]:
    """For each of `steps` steps, n distinct numbers of range(size), uniformly: (steps, n).

    Floyd's algorithm (1987) over all the steps at once.

    >>> choose(0, "demo", 3, 4, 10).tolist()
    [[5, 3, 0, 9]]
    >>> choose(0, "demo", 2, 4, 10, steps=2)[1].tolist()
    [5, 3, 0, 9]
    """
    u = uniform(seed, purpose, span(step, n, steps))
    picks = np.empty((steps, n), dtype=np.int64)
    for i, top in enumerate(range(size - n, size)):
        pick = (u[:, i] * (top + 1)).astype(np.int64)
        taken = (picks[:, :i] == pick[:, None]).any(1)
        picks[:, i] = np.where(taken, top, pick)
    return picks


def permutation(seed: int, purpose: str, size: int) -> NDArray[np.int64]:
    """The numbers of range(size) in a random order.

    >>> permutation(0, "demo", 4).tolist()
    [1, 2, 3, 0]
    """
    return np.argsort(uniform(seed, purpose, np.arange(size, dtype=np.uint64)), kind="stable")


class torch_draws:
    """Seed torch's default CPU generator inside the block and restore it after.

    torch's CPU generator keeps only 32 bits of a seed, so (seed, purpose, step) is hashed to 32.

    >>> import torch
    >>> with torch_draws(0, "demo", 0):
    ...     a = torch.rand(1)
    >>> with torch_draws(0, "demo", 0):
    ...     bool(torch.rand(1) == a)
    True
    """

    __slots__ = ("_before", "_generator", "_seed")

    def __init__(self, seed: int, purpose: str, step: int) -> None:
        import torch

        self._generator = torch.default_generator
        self._seed = _seed32(seed, purpose, step)

    def __enter__(self) -> None:
        self._before = self._generator.get_state()
        self._generator.manual_seed(self._seed)

    def __exit__(self, *_: object) -> None:
        self._generator.set_state(self._before)


def _seed32(seed: int, purpose: str, step: int) -> int:
    mixed = (int(key(seed, purpose)) + (step + 1) * int(_GAMMA)) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 30)) * int(_MIX1)) & 0xFFFFFFFFFFFFFFFF
    return (mixed ^ (mixed >> 31)) >> 32
