import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tenuto.errors import ConfigError
from tenuto.evaluation.matrix import AccuracyMatrix, average

nan = float("nan")
THREE = [[0.9, 0.3, 0.1], [0.6, 0.8, 0.2], [0.7, 0.5, 0.4]]


@st.composite
def squares(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(1, 6))
    return draw(arrays(np.float64, (size, size), elements=st.floats(0, 1)))


def test_closed_forms_of_a_matrix_worked_by_hand():
    m = AccuracyMatrix(values=THREE, baseline=[0.05, 0.2, 0.1])
    assert m.average_accuracy == pytest.approx((0.7 + 0.5 + 0.4) / 3)
    assert m.learning_accuracy == pytest.approx((0.9 + 0.8 + 0.4) / 3)
    assert m.backward_transfer == pytest.approx(((0.7 - 0.9) + (0.5 - 0.8)) / 2)
    assert m.forward_transfer == pytest.approx(((0.3 - 0.2) + (0.2 - 0.1)) / 2)
    assert m.forgetting_by_context == pytest.approx([0.9 - 0.7, 0.8 - 0.5])
    assert m.forgetting == pytest.approx(0.25)
    assert m.average_so_far == pytest.approx([0.9, 0.7, 1.6 / 3])


def test_forgetting_takes_the_best_of_earlier_moments_only():
    better = AccuracyMatrix(values=[[0.5, 0.0], [0.8, 1.0]])
    assert better.forgetting == pytest.approx(-0.3)


def test_forgetting_remembers_a_peak_between_learning_and_the_end():
    assert AccuracyMatrix(values=[[0.5, 0, 0], [0.9, 1, 0], [0.6, 1, 1]]).forgetting == pytest.approx(0.15)


def test_cells_above_the_diagonal_may_be_unmeasured():
    m = AccuracyMatrix(values=[[0.9, nan], [0.5, 0.8]], baseline=[0.1, 0.1])
    assert (m.average_accuracy, m.backward_transfer) == (pytest.approx(0.65), pytest.approx(-0.4))
    assert m.forgetting == pytest.approx(0.4)
    assert m.forward_transfer is None


def test_one_context_has_no_transfer_and_no_forgetting():
    m = AccuracyMatrix(values=[[0.9]], baseline=[0.1])
    assert (m.average_accuracy, m.backward_transfer, m.forward_transfer, m.forgetting) == (
        0.9,
        None,
        None,
        None,
    )
    assert m.forgetting_by_context.shape == (0,)


def test_a_run_that_stopped_early_counts_its_learned_contexts_only():
    whole, early = AccuracyMatrix(values=np.array(THREE)[:2, :2]), AccuracyMatrix(values=THREE[:2])
    assert early.average_accuracy == whole.average_accuracy
    assert early.backward_transfer == whole.backward_transfer
    assert early.forgetting == whole.forgetting


def test_forward_transfer_needs_a_baseline():
    assert AccuracyMatrix(values=THREE).forward_transfer is None


@given(squares())
def test_average_is_what_was_learned_plus_what_later_learning_changed(values):
    m = AccuracyMatrix(values=values)
    changed = (m.backward_transfer or 0.0) * (m.moments - 1) / m.moments
    assert m.average_accuracy == pytest.approx(m.learning_accuracy + changed, abs=1e-12)


@given(squares())
def test_forgetting_is_at_least_minus_backward_transfer_and_within_one(values):
    m = AccuracyMatrix(values=values)
    if m.moments > 1:
        assert -1 <= m.forgetting <= 1
        assert m.forgetting >= -m.backward_transfer - 1e-12


@given(squares())
def test_a_context_that_only_gains_is_not_forgotten(values):
    m = AccuracyMatrix(values=np.maximum.accumulate(values, axis=0))
    assert (m.forgetting or 0.0) <= 0
    assert (m.backward_transfer or 0.0) >= 0


@given(squares(), st.booleans(), st.booleans())
def test_plain_form_returns_through_json(values, holes, based):
    if holes:
        values[np.triu_indices_from(values, 1)] = nan
    m = AccuracyMatrix(values=values, baseline=values[0] * 0 + 0.1 if based and not holes else None)
    assert AccuracyMatrix.from_plain(json.loads(json.dumps(m.to_plain(), allow_nan=False))) == m


@pytest.mark.parametrize(
    ("values", "baseline", "told"),
    [
        ([0.5], None, r"shape \(1,\)"),
        ([], None, r"shape \(0,\)"),
        ([[0.5], [0.5]], None, r"shape \(2, 1\)"),
        ([[0.5, 0.1], [0.5]], None, "rectangle"),
        ([["high"]], None, "rectangle"),
        ([[0.5, 0.1], [nan, 0.5]], None, r"values\[1, 0\] is nan"),
        ([[1.5]], None, r"values\[0, 0\] is 1.5"),
        ([[0.5, -0.1], [0.5, 0.5]], None, r"values\[0, 1\] is -0.1"),
        ([[0.5]], [0.1, 0.1], r"baseline has shape \(2,\)"),
        ([[0.5]], [nan], "baseline is"),
    ],
)
def test_what_is_no_accuracy_matrix_is_refused(values, baseline, told):
    with pytest.raises(ConfigError, match=told):
        AccuracyMatrix(values=values, baseline=baseline)


def test_values_are_a_copy_that_cannot_be_written():
    source = np.array(THREE)
    m = AccuracyMatrix(values=source)
    source[0, 0] = 0.0
    assert m.values[0, 0] == 0.9
    with pytest.raises(ValueError, match="read-only"):
        m.values[0, 0] = 0.0


def test_equality_is_of_content():
    assert AccuracyMatrix(values=[[0.5, nan], [0.5, 0.5]]) == AccuracyMatrix(values=[[0.5, nan], [0.5, 0.5]])
    assert AccuracyMatrix(values=[[0.5]]) != AccuracyMatrix(values=[[0.4]])
    assert AccuracyMatrix(values=[[0.5]]) != AccuracyMatrix(values=[[0.5]], baseline=[0.1])
    assert AccuracyMatrix(values=[[0.5]]) != "0.5"


def test_average_over_seeds_keeps_only_what_every_seed_measured():
    a = AccuracyMatrix(values=[[0.4, nan], [0.2, 0.6]], baseline=[0.1, 0.2])
    b = AccuracyMatrix(values=[[0.6, 0.5], [0.4, 0.8]])
    assert average([a, b]) == AccuracyMatrix(values=[[0.5, nan], [(0.2 + 0.4) / 2, (0.6 + 0.8) / 2]])
    assert average([a, a]).baseline.tolist() == [0.1, 0.2]
    for unfit in ([], [a, AccuracyMatrix(values=[[0.5]])]):
        with pytest.raises(ConfigError, match="one shape"):
            average(unfit)


def test_a_foreign_key_is_named():
    with pytest.raises(ConfigError, match="accuracies"):
        AccuracyMatrix.from_plain({"accuracies": [[1.0]]})
