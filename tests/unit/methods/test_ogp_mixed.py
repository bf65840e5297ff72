"""The mixed stream of the benchmark, its beginning: what must fire fires, nothing else, and it resumes."""

from __future__ import annotations

from benchmarks.ogp import mixed
from tests.data import folder


def test_revisions_fire_on_corrections_alone_and_any_state_goes_on_bit_for_bit() -> None:
    folder("stories260K")
    walk, found = mixed.run(100, updates=125, points=4, times=20)
    assert [(made, must, met) for _, made, must, met in found[:3]] == [
        (60, {}, {}),
        (40, {"revisions": 2}, {"revisions": 2}),
        (25, {}, {}),
    ]
    assert len(walk.saved) == 4
    assert walk.resumed(100) == 4
