"""Bins, divergences and windows: closed forms, and rates of false alarms that are kept."""

from __future__ import annotations

from math import inf, log

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tenuto import drift
from tenuto.drift.shared.histogram import EXPECTED, PRIOR, Bins, divergence, divide
from tenuto.drift.shared.windows import Plan

VALUES = st.lists(st.one_of(st.integers(0, 5).map(float), st.floats(-1e6, 1e6)), min_size=20, max_size=200)
COUNTS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=2, max_size=8)


@given(VALUES, st.integers(2, 12), st.integers(20, 300))
def test_bins_hold_every_value_once_and_equal_ones_together(values: list[float], k: int, newer: int) -> None:
    bins = divide(values, k, newer)
    placed = [bins.place(value) for value in values]
    assert [placed.count(i) for i in range(len(bins.counts))] == bins.counts
    assert 2 <= len(bins.counts) <= k
    assert bins.edges == sorted(set(bins.edges))
    assert len(bins.edges) == len(bins.counts) - 1
    if len(bins.counts) > 2:
        assert min(bins.counts) * newer >= EXPECTED * len(values)
    for value in (-inf, inf, *bins.edges):
        assert 0 <= bins.place(value) < len(bins.counts)


def test_bins_of_different_values_hold_equal_shares() -> None:
    values = np.random.default_rng(0).normal(size=500)
    assert divide(values.tolist(), 10, 200).counts == [50] * 10


@given(COUNTS)
def test_kl_is_its_closed_form(pairs: list[tuple[int, int]]) -> None:
    older, newer = [a for a, _ in pairs] + [1], [b for _, b in pairs] + [1]
    p = [(a + PRIOR) / (sum(older) + PRIOR * len(older)) for a in older]
    q = [(b + PRIOR) / (sum(newer) + PRIOR * len(newer)) for b in newer]
    found = divergence(older, newer, 0.01)
    assert found.kl == pytest.approx(sum(b * log(b / a) for a, b in zip(p, q, strict=True)), abs=1e-12)
    assert found.kl >= -1e-12
    n, m = sum(newer), sum(older)
    assert found.p_value == pytest.approx(
        scipy.stats.chi2.sf(2 * n * m / (n + m) * found.kl, len(older) - 1), rel=1e-6, abs=1e-300
    )
    assert (found.kl >= found.threshold) == (found.p_value <= 0.01)


@given(st.integers(0, 300), st.integers(0, 60))
def test_two_bins_are_fishers_exact_test(a: int, b: int) -> None:
    """The p-value is at least that of either tail alone, and at most that of all tables as unlikely."""
    found = divergence([300 - a, a], [60 - b, b], 0.01)
    drawn = scipy.stats.hypergeom(360, a + b, 60)
    assert found.p_value >= min(drawn.cdf(b), drawn.sf(b - 1)) * (1 - 1e-9)
    assert found.p_value <= 1.0
    assert (found.kl >= found.threshold) == (found.p_value <= 0.01)


@pytest.mark.parametrize("share", [0.003, 0.05])
def test_the_exact_test_never_alarms_more_often_than_asked(share: float) -> None:
    """Over all pairs of binomial counts, weighted by their chances, rare errors included."""
    older, newer = scipy.stats.binom(100, share), scipy.stats.binom(40, share)
    alarms = 0.0
    for a in range(101):
        if older.pmf(a) > 1e-9:
            for b in range(41):
                if newer.pmf(b) > 1e-9 and divergence([100 - a, a], [40 - b, b], 0.05).p_value <= 0.05:
                    alarms += older.pmf(a) * newer.pmf(b)
    assert alarms <= 0.05


def test_a_constant_baseline_has_two_bins_itself_and_other() -> None:
    bins = divide([3.0] * 50, 10, 200)
    assert bins == Bins([3.0], [50, 0])
    assert [bins.place(x) for x in (2.9, 3.0, 3.1)] == [1, 0, 1]
    assert divergence([50, 0], [19, 1], 0.01).p_value > 0.01
    assert divergence([50, 0], [10, 10], 0.01).p_value < 1e-5


def test_the_rate_is_shared_by_the_tests_of_the_horizon() -> None:
    plan = Plan(rate=0.01, horizon=10_000, bins=10, baseline=500, window=200, every=50)
    assert plan.chance == 0.01 / 187
    assert Plan(rate=0.1, horizon=100, bins=10, baseline=500, window=200, every=50).chance == 0.1


@pytest.mark.parametrize(("kind", "bins"), [("normal", 4), ("errors", 2), ("dice", 4)])
def test_kl_keeps_its_rate_of_false_alarms(kind: str, bins: int) -> None:
    """The share of streams with an alarm is not above the rate asked for, and not far below it."""
    rate, streams, horizon = 0.2, 200, 640
    options = {"rate": rate, "horizon": horizon, "bins": bins, "baseline": 160, "window": 80, "every": 40}
    alarms = 0
    for seed in range(streams):
        draw = np.random.default_rng(seed)
        values = {
            "normal": lambda draw=draw: draw.normal(size=horizon),
            "errors": lambda draw=draw: (draw.random(horizon) < 0.3).astype(float),
            "dice": lambda draw=draw: draw.integers(1, 7, horizon).astype(float),
        }[kind]()
        detector = drift.load("kl", options)
        alarms += any(list(map(detector.update, values.tolist())))
    low, high = scipy.stats.binom(streams, rate / 2).ppf(0.001), scipy.stats.binom(streams, rate).ppf(0.999)
    assert low <= alarms <= high


def test_projected_keeps_its_rate_and_finds_a_shift_of_many_features() -> None:
    rate, streams, horizon = 0.2, 40, 500
    options = {
        "rate": rate,
        "horizon": horizon,
        "bins": 4,
        "baseline": 160,
        "window": 60,
        "every": 30,
        "projections": 4,
    }
    alarms, found = 0, 0
    for seed in range(streams):
        draw = np.random.default_rng(seed)
        vectors = draw.normal(size=(horizon, 20)) * np.logspace(-3, 3, 20) + 5
        detector = drift.load("projected", options, seed=seed)
        alarms += any(list(map(detector.update, vectors)))
        vectors[300:] *= 2
        detector = drift.load("projected", options, seed=seed)
        found += any(list(map(detector.update, vectors)))
    assert alarms <= scipy.stats.binom(streams, rate).ppf(0.999)
    assert found >= 0.9 * streams


def test_projected_refuses_a_vector_of_another_width() -> None:
    detector = drift.load("projected")
    detector.update(np.zeros(3))
    with pytest.raises(ValueError, match="a vector of 4 numbers came to a stream of 3"):
        detector.update(np.zeros(4))
    with pytest.raises(ValueError, match="number 1: a drift detector was given nan"):
        detector.update(np.array([0.0, np.nan, 0.0]))


def test_ddm_takes_shares_alone() -> None:
    with pytest.raises(ValueError, match=r"given 1\.5; it takes a number from 0 to 1"):
        drift.load("ddm").update(1.5)


def test_adwins_bound_on_the_chance_is_delta_where_it_just_reports() -> None:
    """The p-value solves the bound for delta: asked for exactly that, the bound is the distance."""
    stream = [float(x) for x in np.random.default_rng(0).random(600) < np.repeat([0.2, 0.6], 300)]
    asked = {"clock": 1, "delta": 0.002}
    for _ in range(2):
        detector = drift.load("adwin", asked)
        report = next(report for value in stream if (report := detector.update(value)))
        assert report.p_value is not None
        assert report.p_value <= asked["delta"]
        assert report.statistic > report.threshold
        asked["delta"] = report.p_value * (1 + 1e-9)
    assert report.threshold == pytest.approx(report.statistic, rel=0.2)
