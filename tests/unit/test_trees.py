"""Trees: what a digest sees."""

from __future__ import annotations

import math

import torch

from tenuto.trees import digest


def test_the_digest_sees_every_bit_and_no_order() -> None:
    state = {"w": torch.zeros(3), "n": 0, "deep": {"b": [1.0, None], "a": "x"}}
    base = digest(state)
    assert digest({"deep": {"a": "x", "b": [1.0, None]}, "n": 0, "w": torch.zeros(3)}) == base
    changed = [
        {"w": torch.tensor([0.0, -0.0, 0.0])},
        {"w": torch.zeros(3, 1)},
        {"w": torch.zeros(3, dtype=torch.float64)},
        {"n": 0.0},
        {"n": False},
        {"n": None},
        {"deep": {"b": [math.nextafter(1.0, 2), None], "a": "x"}},
        {"deep": {"b": [None, 1.0], "a": "x"}},
        {"more": None},
    ]
    digests = [digest(state | change) for change in changed]
    assert len({base, *digests}) == len(changed) + 1


def test_the_digest_tells_nested_names_apart() -> None:
    alike = [{"a/b": 1}, {"a": {"b": 1}}, {"a": [1]}, {"a": 1, "b": 1}, {"a": {"0": 1}}, {"a": [[1]]}]
    assert len({digest(state) for state in alike}) == len(alike)
