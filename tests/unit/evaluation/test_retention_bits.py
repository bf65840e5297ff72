from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from tenuto.errors import ConfigError
from tenuto.evaluation.retention import information_forgetting, label_entropy, retention_bits

nan = float("nan")


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20).filter(any))
def test_label_entropy_equals_scipys_and_is_bounded_by_the_number_of_labels(counts):
    found = label_entropy(counts)
    assert found == pytest.approx(entropy(counts), abs=1e-12)
    assert 0 <= found <= log(len(counts)) + 1e-12


@given(st.integers(1, 8))
def test_knowing_everything_about_balanced_labels_is_their_number_of_bits(bits):
    reference = label_entropy([5] * 2**bits)
    assert retention_bits([[0.0]], reference=[reference]) == pytest.approx(np.array([[bits]]))
    assert retention_bits([[reference]], reference=[reference]) == pytest.approx(np.array([[0.0]]))


def test_one_label_leaves_nothing_to_know():
    assert label_entropy([7]) == 0.0
    assert str(label_entropy([7])) == "0.0"


def test_a_model_worse_than_the_marginal_retains_less_than_nothing():
    assert retention_bits([[3 * log(2)]], reference=[log(2)])[0, 0] == pytest.approx(-2.0)


def test_each_context_is_measured_against_its_own_reference():
    found = retention_bits([[log(2), nan], [log(4), log(2)]], reference=[log(4), log(8)])
    assert found == pytest.approx(np.array([[1.0, nan], [0.0, 2.0]]), nan_ok=True)


def test_information_forgetting_takes_the_best_earlier_moment_and_skips_what_was_not_measured():
    bits = [[1.0, nan, nan, 0.5], [3.0, 2.0, nan, 0.5], [2.5, 2.5, 1.0, nan]]
    assert information_forgetting(bits) == pytest.approx([0.5, -0.5, nan, nan], nan_ok=True)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=2, max_size=6))
def test_information_forgetting_is_at_least_the_loss_since_any_moment(bits):
    rows = np.array(bits)
    assert (information_forgetting(rows) >= rows[:-1] - rows[-1] - 1e-12).all()


@pytest.mark.parametrize("counts", [[], [0, 0], [-1, 2], [[1]], [nan, 1]])
def test_what_counts_no_labels_is_refused(counts):
    with pytest.raises(ConfigError, match="counts"):
        label_entropy(counts)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match=r"\(1, 2\) and reference \(1,\)"):
        retention_bits([[1.0, 2.0]], reference=[1.0])
    with pytest.raises(ConfigError, match="finite"):
        retention_bits([[float("inf")]], reference=[1.0])
    with pytest.raises(ConfigError, match="at least 2 moments"):
        information_forgetting([[1.0]])
