"""Tails in closed form beside scipy's."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tenuto.drift.kswin import distance
from tenuto.drift.shared.tails import chi_squared, chi_squared_critical, kolmogorov_smirnov, tables
from tenuto.errors import ConfigError


@given(st.floats(0, 500), st.integers(1, 60))
def test_chi_squared_is_scipys(x: float, freedom: int) -> None:
    assert chi_squared(x, freedom) == pytest.approx(scipy.stats.chi2.sf(x, freedom), rel=1e-9, abs=1e-300)


@given(st.floats(1e-12, 0.999), st.integers(1, 60))
def test_its_quantile_is_scipys(chance: float, freedom: int) -> None:
    found = chi_squared_critical(chance, freedom)
    assert found == pytest.approx(scipy.stats.chi2.isf(chance, freedom), rel=1e-9)
    assert chi_squared(found, freedom) <= chance


@given(st.integers(1, 25), st.integers(1, 25))
def test_kolmogorov_smirnov_counts_the_walks_that_leave_the_strip(n: int, steps: int) -> None:
    """Of the C(2n, n) orders of two samples, those in which one leads by `steps` somewhere."""
    inside = {(0, 0): 1}
    for i in range(n + 1):
        for j in range(n + 1):
            if abs(i - j) < steps and (i or j):
                inside[i, j] = inside.get((i - 1, j), 0) + inside.get((i, j - 1), 0)
    expected = 1 - inside.get((n, n), 0) / math.comb(2 * n, n)
    assert kolmogorov_smirnov(steps, n) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "shift"), [(30, 0.3), (30, 1.0), (75, 0.5), (200, 0.0)])
def test_kolmogorov_smirnov_is_scipys(n: int, shift: float) -> None:
    draw = np.random.default_rng(n)
    one, other = draw.normal(size=n), draw.normal(size=n) + shift
    found = scipy.stats.ks_2samp(one, other, method="exact")
    assert distance(one, other) / n == pytest.approx(found.statistic)
    assert kolmogorov_smirnov(distance(one, other), n) == pytest.approx(found.pvalue, rel=1e-9)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_the_distance_is_the_largest_of_the_distribution_functions(one: list[int], draw: Random) -> None:
    other = [draw.randrange(10) for _ in one]
    expected = max(abs(sum(x <= at for x in one) - sum(x <= at for x in other)) for at in range(10))
    assert distance(np.array(one, dtype=np.float64), np.array(other, dtype=np.float64)) == expected


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_tables_are_hypergeometric(first: int, second: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, first + second))
    counts, chances = tables(first, second, successes)
    expected = scipy.stats.hypergeom.pmf(counts, first + second, successes, second)
    assert chances.sum() == pytest.approx(1)
    np.testing.assert_allclose(chances, expected, rtol=1e-8)


def test_the_ends() -> None:
    assert chi_squared(0.0, 3) == chi_squared(-1.0, 3) == 1.0
    assert kolmogorov_smirnov(0, 5) == 1.0
    assert kolmogorov_smirnov(5, 5) == pytest.approx(2 / math.comb(10, 5))
    with pytest.raises(ConfigError, match="freedom is 0"):
        chi_squared(1.0, 0)
    with pytest.raises(ConfigError, match="chance is 1"):
        chi_squared_critical(1.0, 3)
