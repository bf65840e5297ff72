"""The detectors that River has too report at the very same values as River's."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from river import drift as rivers
from river.base import DriftDetector as Rivers

from tenuto import drift
from tenuto.randomness import choose

Streams = Callable[[int], Iterator[float]]


def errors(seed: int) -> Iterator[float]:
    """Errors whose rate moves every few hundred values, now abruptly, now gradually."""
    draw = random.Random(seed)
    rate = draw.choice([0.02, 0.2, 0.5])
    for _ in range(6):
        towards, n, gradual = draw.random(), draw.randrange(60, 500), draw.random() < 0.5
        for i in range(n):
            here = rate + (towards - rate) * (min(1.0, 2 * i / n) if gradual else 1.0)
            yield float(draw.random() < here)
        rate = towards


def numbers(seed: int) -> Iterator[float]:
    """Real numbers whose mean and spread move."""
    draw = random.Random(seed)
    for _ in range(6):
        mean, spread = draw.gauss(0, 2), draw.choice([0.1, 0.5, 3.0])
        for _ in range(draw.randrange(60, 500)):
            yield draw.gauss(mean, spread)


def ours(name: str, options: dict[str, Any], values: Iterator[float]) -> list[int]:
    detector = drift.load(name, options)
    return [i for i, value in enumerate(values) if detector.update(value)]


def theirs(detector: Rivers, values: Iterator[float]) -> list[int]:
    found = []
    for i, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(i)
    return found


def both(name: str, make: Callable[..., Rivers], options: list[dict[str, Any]], streams: Streams) -> int:
    """How many reports there were, all on the same values."""
    total = 0
    for seed in range(20):
        chosen = options[seed % len(options)]
        found = ours(name, chosen, streams(seed))
        assert found == theirs(make(**chosen), streams(seed)), f"seed {seed}, {chosen}"
        total += len(found)
    return total


@pytest.mark.parametrize("streams", [errors, numbers])
def test_adwin(streams: Streams) -> None:
    options = [
        {},
        {"delta": 0.2, "clock": 1, "max_buckets": 2, "min_window_length": 1, "grace_period": 1},
        {"delta": 0.05, "clock": 5, "max_buckets": 3, "min_window_length": 20, "grace_period": 50},
        {"delta": 1e-6, "clock": 32, "max_buckets": 9},
    ]
    assert both("adwin", rivers.ADWIN, options, streams) > 40


@pytest.mark.parametrize("streams", [errors, numbers])
def test_page_hinkley(streams: Streams) -> None:
    options = [
        {"threshold": 10.0},
        {"threshold": 5.0, "delta": 0.05, "alpha": 0.99},
        {"threshold": 8.0, "mode": "up", "min_instances": 1},
        {"threshold": 8.0, "mode": "down", "min_instances": 100},
        {},
    ]
    assert both("page_hinkley", rivers.PageHinkley, options, streams) > 40


def test_ddm() -> None:
    options = [{}, {"warm_start": 1}, {"drift_threshold": 2.0}, {"warm_start": 100, "drift_threshold": 4.0}]
    assert both("ddm", rivers.binary.DDM, options, errors) > 40


class Keyed:
    """Our draws as River's generator makes them: one per value from the first full window on."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.seen = 0

    def sample(self, older: range, k: int) -> list[int]:
        return [older[place] for place in choose(self.seed, "kswin", self.seen, k, len(older))[0]]


class RiversKSWIN(rivers.KSWIN):
    """River's, with our draws."""

    def _reset(self) -> None:
        kept = getattr(self, "_rng", None)
        super()._reset()
        self._rng = kept if isinstance(kept, Keyed) else Keyed(self.seed)

    def update(self, x: float) -> None:
        self._rng.seen += 1
        super().update(x)


@pytest.mark.parametrize(
    ("streams", "options"),
    [
        (errors, {"seed": 0}),
        (numbers, {"seed": 7, "alpha": 0.05, "window_size": 60, "stat_size": 20}),
        (numbers, {"seed": 1, "alpha": 1e-6, "window_size": 150, "stat_size": 75}),
    ],
)
def test_kswin(streams: Streams, options: dict[str, Any]) -> None:
    found = ours("kswin", options, streams(1))
    assert found == theirs(RiversKSWIN(**options), streams(1))
    assert found
