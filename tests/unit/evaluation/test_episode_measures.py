"""The four numbers of an episode against closed forms, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import ConfigError
from tenuto.evaluation.episodes import agreement, drift, lost, perplexity, share


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=20))
def test_agreement_is_a_share_of_what_counts(rows: list[tuple[int, int, bool]]) -> None:
    first, now, counted = ([row[n] for row in rows] for n in range(3))
    same = [one == other for one, other, counts in rows if counts]
    assert agreement(first, now, counted=counted) == (sum(same) / len(same) if same else None)


def test_a_model_as_it_was_keeps_all_and_moved_nowhere() -> None:
    weights = {"a": np.array([1.0, 2.0]), "b": np.array([[3.0]])}
    assert agreement([[1, 2]], [[1, 2]]) == 1.0
    assert drift(weights, weights) == 0.0
    assert drift(weights, {name: 2 * leaf for name, leaf in weights.items()}) == pytest.approx(1.0)
    assert drift({"a": [0.0]}, {"a": [1.0]}) == 0.0
    assert lost([True, True], [True, True]) == 0.0


def test_perplexity_is_that_of_a_uniform_guess() -> None:
    assert perplexity([math.log(50), math.log(50)]) == pytest.approx(50.0)
    assert perplexity([1e9]) == math.exp(700.0)
    assert (perplexity([]), share([]), lost([False], [True])) == (None, None, None)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="one for each"):
        agreement([1, 2], [1])
    with pytest.raises(ConfigError, match="one side only"):
        drift({"a": [1.0]}, {"b": [1.0]})
    with pytest.raises(ConfigError, match="one for each"):
        lost([True], [])
