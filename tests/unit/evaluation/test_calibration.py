import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import ConfigError
from tenuto.evaluation.calibration import expected_calibration_error, reliability


def drawn(seed: int, rows: int = 200, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(classes), size=rows), rng.integers(classes, size=rows)


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_error_equals_the_papers_formula_bin_by_bin(seed, bins):
    p, labels = drawn(seed)
    confidence, right = p.max(1), p.argmax(1) == labels
    expected = 0.0
    for m in range(bins):
        inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(p, labels, bins=bins) == pytest.approx(expected)
    assert 0 <= expected <= 1


def test_sure_and_right_is_calibrated_and_sure_and_wrong_is_not():
    assert expected_calibration_error(np.eye(3), [0, 1, 2]) == 0.0
    assert expected_calibration_error(np.eye(3), [1, 2, 0]) == 1.0


def test_labels_drawn_from_the_forecast_are_nearly_calibrated_and_overconfidence_is_not():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), size=20_000)
    labels = (p.cumsum(1) < rng.random((20_000, 1))).sum(1)
    assert expected_calibration_error(p, labels) < 0.02
    bold = p**3 / (p**3).sum(1, keepdims=True)
    assert expected_calibration_error(bold, labels) > 0.1


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    for bins in (5, 10, 20):
        for m in range(bins // 2 + 1, bins):
            found = reliability([[m / bins, 1 - m / bins]], [0], bins=bins)
            assert found.rows.argmax() == m - 1


def test_empty_bins_have_no_confidence():
    found = reliability([[0.9, 0.1]], [0], bins=2)
    assert found.rows.tolist() == [0, 1]
    assert np.isnan(found.confidence[0])
    assert found.accuracy[1] == 1.0


@pytest.mark.parametrize(
    ("p", "labels", "bins", "told"),
    [
        ([[0.5, 0.5]], [0], 0, "bins is 0"),
        ([0.5, 0.5], [0], 5, r"probabilities \(2,\)"),
        ([[0.5, 0.5]], [0, 1], 5, r"labels \(2,\)"),
        (np.zeros((0, 2)), [], 5, r"probabilities \(0, 2\)"),
        ([[0.5, 0.5], [0.9, 0.9]], [0, 1], 5, r"probabilities\[1\]"),
        ([[1.5, -0.5]], [0], 5, r"probabilities\[0\]"),
        ([[float("nan"), 0.5]], [0], 5, r"probabilities\[0\]"),
        ([[0.5, 0.5]], [2], 5, r"labels\[0\] is .*2.*from 0 to 1"),
        ([[0.5, 0.5]], [0.5], 5, r"labels\[0\]"),
    ],
)
def test_what_is_no_forecast_is_refused(p, labels, bins, told):
    with pytest.raises(ConfigError, match=told):
        expected_calibration_error(p, labels, bins=bins)
