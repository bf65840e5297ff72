"""Rows that no basis protects are drawn more often: p_i grows with 1 - |M^T x|^2 / |x|^2.

A protected row has no gradient, and teaches nothing when it is replayed. The share is refreshed whenever a
row is replayed; a new row enters with the largest in memory. Only for methods that protect (`ogp_lora`).
"""

from __future__ import annotations

from tenuto.memory.sampling.prioritized import Prioritized


def policy(seed: int) -> Prioritized:
    """Sampling by what is not protected; the draw is uniform where nothing is told."""
    return Prioritized(seed, beta=0.0, needs=frozenset({"unprotected"}))
