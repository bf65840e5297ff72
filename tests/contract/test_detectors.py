"""Every detector in its folder keeps the contract: deterministic, bounded, resumed to the bit."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from tenuto import drift, trees
from tenuto.errors import ConfigError, ExampleError
from tenuto.parts import find
from tenuto.protocols import DriftDetector
from tenuto.reports import DriftReport
from tenuto.types import State
from tests.contract.plain import leaves, size, trip

SMALL: dict[str, dict[str, Any]] = {
    "adwin": {"clock": 4},
    "page_hinkley": {"threshold": 8.0},
    "kl": {"bins": 2, "baseline": 40, "window": 30, "every": 10},
    "projected": {"bins": 2, "baseline": 40, "window": 30, "every": 10},
}
"""Options under which a short walk sees every state a detector has."""
DETECTORS = drift.known()


def walk(seed: int = 0, n: int = 600) -> list[float]:
    """Numbers in [0, 1] whose mean moves twice; the contract holds for such."""
    numbers = np.random.default_rng(seed).beta(2, 8, n)
    numbers[n // 3 : 2 * n // 3] = 1 - numbers[n // 3 : 2 * n // 3]
    return [float(x) for x in numbers]


def steady(seed: int, n: int, error: float = 0.3) -> list[float]:
    """Errors of a learner whose world stands still."""
    return [float(x) for x in np.random.default_rng(seed).random(n) < error]


def reports(detector: DriftDetector, values: list[float]) -> list[DriftReport | None]:
    """What it says to each value."""
    return [detector.update(value) for value in values]


def strange_states(state: State) -> Iterator[State]:
    """The state with each of its pieces missing."""
    for name, piece in state.items():
        yield {key: value for key, value in state.items() if key != name}
        if isinstance(piece, dict):
            for without in strange_states(piece):
                yield {**state, name: without}


@pytest.mark.parametrize("name", DETECTORS)
def test_it_goes_on_bit_for_bit_from_every_value(name: str) -> None:
    values = walk(n=420)
    whole = drift.load(name, SMALL.get(name))
    for i, value in enumerate(values):
        saved = trip(whole.state())
        resumed = drift.load(name, SMALL.get(name))
        if i:
            resumed.update(0.5)
        resumed.load_state(saved)
        assert trees.digest(resumed.state()) == trees.digest(whole.state())
        assert whole.update(value) == resumed.update(value)
        assert trees.digest(resumed.state()) == trees.digest(whole.state()), f"at value {i}"


@pytest.mark.parametrize("name", DETECTORS)
def test_it_goes_back_in_time(name: str) -> None:
    values = walk()
    detector = drift.load(name, SMALL.get(name))
    reports(detector, values[:150])
    saved = detector.state()
    digest = trees.digest(saved)
    first = reports(detector, values[150:])
    assert any(first)
    assert trees.digest(saved) == digest, "the saved state changed as the detector went on"
    detector.load_state(saved)
    assert reports(detector, values[150:]) == first
    assert trees.digest(saved) == digest


@pytest.mark.parametrize("name", DETECTORS)
def test_its_state_is_plain(name: str) -> None:
    detector = drift.load(name, SMALL.get(name))
    for value in walk(n=200):
        detector.update(value)
        for path, leaf in leaves(detector.state()):
            assert isinstance(leaf, torch.Tensor | bool | int | float | str | None), path
            assert type(leaf) is not np.float64, path


@pytest.mark.parametrize("name", DETECTORS)
def test_the_seed_alone_decides(name: str) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = reports(drift.load(name, SMALL.get(name), seed=3), walk(1))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert reports(drift.load(name, SMALL.get(name), seed=3), walk(1)) == first


@pytest.mark.parametrize("name", DETECTORS)
def test_a_number_may_be_a_tensor(name: str) -> None:
    one, other = drift.load(name, SMALL.get(name)), drift.load(name, SMALL.get(name))
    values = walk(2)
    assert reports(one, values) == [other.update(torch.tensor(x, dtype=torch.float64)) for x in values]


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize(
    "bad",
    [float("nan"), float("inf"), float("-inf"), 1e101, "0.5", None, torch.zeros(2, 2), torch.zeros(0)],
    ids=repr,
)
def test_a_bad_value_is_refused_with_nothing_changed(name: str, bad: Any) -> None:
    detector = drift.load(name, SMALL.get(name))
    for n in (0, 50, 60):
        reports(detector, walk()[:n])
        before = trees.digest(detector.state())
        with pytest.raises(ExampleError, match="a drift detector was given"):
            detector.update(bad)
        assert trees.digest(detector.state()) == before


@pytest.mark.parametrize("name", DETECTORS)
def test_a_state_with_a_piece_missing_is_refused_whole(name: str) -> None:
    donor, detector = (drift.load(name, SMALL.get(name)) for _ in range(2))
    reports(donor, walk()[:80])
    reports(detector, walk(1)[:30])
    before = trees.digest(detector.state())
    for state in strange_states(donor.state()):
        with pytest.raises((KeyError, ValueError)):
            detector.load_state(state)
        assert trees.digest(detector.state()) == before


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3, 1.0])
def test_a_constant_stream_never_alarms(name: str, constant: float) -> None:
    assert not any(reports(drift.load(name), [constant] * 2500))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_constant_stream_that_moves_is_found(name: str) -> None:
    found = reports(drift.load(name), [0.25] * 1100 + [0.75] * 700)
    assert not any(found[:1100])
    assert any(found[1100:])


@pytest.mark.parametrize("name", DETECTORS)
def test_an_abrupt_change_is_found_and_told(name: str) -> None:
    detector = drift.load(name)
    before, after = steady(5, 1100, error=0.1), steady(6, 1100, error=0.7)
    found = [
        (i, report) for i, report in enumerate(reports(detector, before + after)) if report and i >= 1100
    ]
    at, report = found[0]
    assert at < 1500
    assert report.detector == name
    assert report.statistic >= report.threshold
    assert report.p_value is None or 0 <= report.p_value <= 0.005
    start, end = report.window
    assert 700 <= start < end == at + 1
    assert report.reason


@pytest.mark.parametrize("name", DETECTORS)
def test_it_begins_anew_after_a_report(name: str) -> None:
    """It finds the way back too, and no report follows at once on another."""
    options = {**SMALL.get(name, {})}
    found = [i for i, report in enumerate(reports(drift.load(name, options), walk(n=1800))) if report]
    assert any(600 <= i < 900 for i in found)
    if name != "ddm":
        assert any(1200 <= i < 1500 for i in found)
    assert all(later - earlier > 1 for earlier, later in pairwise(found))


def is_bounded(name: str, n: int) -> None:
    detector = drift.load(name)
    sizes = []
    numbers = np.random.default_rng(0).beta(2, 8, n).tolist()
    for i, value in enumerate(numbers):
        detector.update(value)
        if i % (n // 50) == n // 50 - 1:
            sizes.append(size(detector.state()))
    half = len(sizes) // 2
    assert max(sizes[half:]) <= 1.25 * max(sizes[:half]) + 12, f"the state grew: {sizes}"


@pytest.mark.parametrize("name", DETECTORS)
def test_its_state_is_bounded(name: str) -> None:
    is_bounded(name, 5000)


@pytest.mark.long
@pytest.mark.parametrize("name", DETECTORS)
def test_its_state_is_bounded_for_long(name: str) -> None:
    is_bounded(name, 100_000)


@pytest.mark.parametrize("name", DETECTORS)
def test_it_says_what_it_is_and_what_its_options_mean(name: str) -> None:
    module = find("tenuto.drift", "detector", name)
    assert module.__doc__
    for option in inspect.signature(module.detector).parameters.values():
        assert option.default is not inspect.Parameter.empty
        assert f"{option.name}:" in module.detector.__doc__
        assert drift.options(name)[option.name].low > -np.inf or drift.options(name)[option.name].choices


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown detector 'adwni'; known: adwin, .*did you mean 'adwin'"):
        drift.load("adwni")
    with pytest.raises(ConfigError, match="detector adwin has no option 'rate'; it has: delta, clock"):
        drift.load("adwin", {"rate": 0.1})
    with pytest.raises(ConfigError, match=r"detector kl's rate is 0\.9; it must be at most 0\.5"):
        drift.load("kl", {"rate": 0.9})
    with pytest.raises(ConfigError, match="window is 50; with 10 bins it must be at least 100"):
        drift.load("kl", {"window": 50})
    with pytest.raises(ConfigError, match="every is 300; it must be at most window, 200"):
        drift.load("kl", {"every": 300})
    with pytest.raises(ConfigError, match="window_size is 40; it must be at least twice stat_size, 30"):
        drift.load("kswin", {"window_size": 40})
