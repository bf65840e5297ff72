"""The benchmark of guards in small: its intervals, and a learner that would diverge without one."""

from __future__ import annotations

import pytest
from scipy import stats

from benchmarks.guards import rates, share


@pytest.mark.parametrize(("hits", "runs"), [(0, 200), (3, 200), (199, 200), (200, 200), (1, 2)])
def test_a_share_has_the_exact_interval(hits: int, runs: int) -> None:
    found = share("", hits, runs, "", bool)
    exact = stats.binomtest(hits, runs).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_guarded_derpp_survives_a_rate_at_which_it_diverges() -> None:
    found = {figure.name: figure.value for figure in rates(range(100, 102), source="digits")}
    assert found["DER++ on digits, diverging: accuracy"] < 0.3
    assert found["tuned less diverging, guarded"] <= 0.02
    assert found["DER++ on digits, tuned, guarded: rows refused"] == 0.0
