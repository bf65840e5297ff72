import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import ConfigError
from tenuto.evaluation import AccuracyMatrix
from tenuto.evaluation.progressive import (
    anytime_average,
    cumulative_accuracy,
    fading_accuracy,
    windowed_accuracy,
)

hits = st.lists(st.booleans(), min_size=1, max_size=60)


@given(hits, st.integers(1, 70))
def test_window_is_the_mean_of_the_last_rows(answers, window):
    expected = [np.mean(answers[max(0, k - window) : k]) for k in range(1, len(answers) + 1)]
    assert windowed_accuracy(answers, window=window) == pytest.approx(expected)


@given(hits)
def test_cumulative_is_the_mean_of_all_rows_and_equals_both_limits(answers):
    expected = [np.mean(answers[:k]) for k in range(1, len(answers) + 1)]
    assert cumulative_accuracy(answers) == pytest.approx(expected)
    assert windowed_accuracy(answers, window=len(answers)) == pytest.approx(expected)
    assert fading_accuracy(answers, fading=1) == pytest.approx(expected)


@given(hits, st.floats(0.01, 1))
def test_fading_weighs_a_row_k_steps_back_by_the_factor_to_the_k(answers, fading):
    weights = fading ** np.arange(len(answers))[::-1]
    assert fading_accuracy(answers, fading=fading)[-1] == pytest.approx(np.average(answers, weights=weights))


@given(hits, st.integers(0, 59))
def test_no_row_is_judged_by_rows_after_it(answers, cut):
    first = answers[: cut + 1]
    for measure in (
        cumulative_accuracy,
        lambda h: windowed_accuracy(h, window=7),
        lambda h: fading_accuracy(h, fading=0.9),
    ):
        assert measure(answers)[: len(first)].tolist() == measure(first).tolist()


def test_anytime_average_of_a_matrix_and_of_uneven_moments():
    m = AccuracyMatrix(values=[[1.0, 0.0], [0.2, 0.8]])
    assert anytime_average(m.average_so_far) == pytest.approx((1.0 + 0.5) / 2)
    assert anytime_average([0.0, 1.0, 1.0], moments=[0, 2, 10]) == pytest.approx((1 + 8) / 10)
    assert anytime_average([0.0, 1.0, 0.0], moments=[0, 1, 2]) == pytest.approx(0.5)


@pytest.mark.parametrize("wrong", [[], [[True]], [0.5], [float("nan")], [2]])
def test_what_is_no_row_of_answers_is_refused(wrong):
    with pytest.raises(ConfigError, match="hits"):
        cumulative_accuracy(wrong)


def test_options_out_of_range_are_named():
    with pytest.raises(ConfigError, match="window is 0"):
        windowed_accuracy([True], window=0)
    for fading in (0.0, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="fading is"):
            fading_accuracy([True], fading=fading)
    for moments in ([0], [0, 0], [1, 0], [0, 1, 2]):
        with pytest.raises(ConfigError, match="moments"):
            anytime_average([0.1, 0.2], moments=moments)
    with pytest.raises(ConfigError, match="accuracies"):
        anytime_average([])
