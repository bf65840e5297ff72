"""What a learner takes beyond the frozen weights: terms that are counted tell the measured peak."""

from __future__ import annotations

from benchmarks.memory_beyond import account
from tests.data import folder

SHARE = 0.1
"""Of the peak: what each operation holds for itself, which no term counts."""


def test_the_terms_tell_the_peak_whatever_the_length() -> None:
    name = str(folder("stories260K"))
    short, long = (account(name, tokens=tokens) for tokens in (24, 64))
    for found in (short, long):
        assert abs(found.gap) < SHARE
        assert all(size > 0 for size in found.terms.values())
    kept = "activations kept for the backward"
    assert long.terms[kept] > 2.5 * short.terms[kept]
    assert long.terms["adapters"] == short.terms["adapters"] < long.weights / 50
    without = long.peak - sum(size for name, size in long.terms.items() if name != kept)
    assert without > 0.5 * long.peak
