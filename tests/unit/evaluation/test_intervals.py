import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tenuto.errors import ConfigError
from tenuto.evaluation.intervals import critical, interval, paired_interval

values = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_critical_value_equals_scipys(level):
    for freedom in [*range(1, 32), 60, 119, 120, 1000, 5001]:
        assert critical(level, freedom) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-9)


def test_critical_value_at_infinite_freedom_is_the_normals():
    assert critical(0.95, 200_001) == pytest.approx(stats.norm.ppf(0.975), abs=2e-5)


@given(values, st.sampled_from([0.9, 0.95, 0.99]))
def test_interval_equals_scipys(seeds, level):
    found = interval(seeds, level=level)
    spread = stats.sem(seeds)
    low, high = (
        stats.t.interval(level, len(seeds) - 1, loc=np.mean(seeds), scale=spread)
        if spread
        else (found.mean,) * 2
    )
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    assert found.n == len(seeds)


def test_paired_interval_equals_scipys_and_is_narrower_where_seeds_share_their_luck():
    rng = np.random.default_rng(0)
    luck = rng.normal(size=8)
    a, b = luck + 0.1 * rng.normal(size=8) + 0.5, luck + 0.1 * rng.normal(size=8)
    found = paired_interval(a.tolist(), b.tolist())
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.half_width < 0.5 * interval(a.tolist()).half_width


def test_one_seed_has_a_mean_and_no_interval():
    found = interval([0.5])
    assert (found.mean, found.half_width, found.low, found.high) == (0.5, None, None, None)


def test_equal_seeds_have_an_interval_of_no_width():
    assert interval([0.1] * 7).half_width == pytest.approx(0.0, abs=1e-15)


def test_an_interval_at_95_percent_holds_the_mean_about_95_times_in_100():
    draws = np.random.default_rng(1).normal(3.0, 2.0, size=(2000, 4))
    held = sum(abs(found.mean - 3.0) <= found.half_width for found in map(interval, draws.tolist()))
    assert 0.935 <= held / 2000 <= 0.965


@pytest.mark.parametrize("wrong", [[], [float("nan")], [1.0, float("inf")]])
def test_no_interval_over_nothing_or_over_what_is_not_finite(wrong):
    with pytest.raises(ConfigError, match="no interval over"):
        interval(wrong)


def test_unpaired_seeds_and_options_out_of_range_are_named():
    with pytest.raises(ConfigError, match="2 values beside 1"):
        paired_interval([0.1, 0.2], [0.1])
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ConfigError, match="level is"):
            interval([0.1, 0.2], level=level)
    with pytest.raises(ConfigError, match="freedom is 0"):
        critical(0.95, 0)
