"""MC-dropout sampling: rows whose answer wavers under dropout are drawn more often.

    H = entropy of the mean answer over dropout masks (Gal & Ghahramani 2016)

Drawn by rank, as in `uncertain`. Ten passes over the replayed rows with dropout on and everything else in
evaluation mode. Of a model without dropout it is the entropy of the answer.
"""

from __future__ import annotations

from tenuto.memory.sampling.uncertain import Uncertain


def policy(seed: int) -> Uncertain:
    """Wavering rows more often."""
    return Uncertain(seed, needs=frozenset({"dropout entropy"}))
