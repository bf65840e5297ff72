"""The running moments of the default model's first layer equal numpy's over all rows so far."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenuto.models import Standardize


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.floats(-1e3, 1e3), st.floats(1e-2, 1e3))
def test_moments_are_numpys_however_rows_are_split(sizes: list[int], shift: float, scale: float) -> None:
    rows = np.random.default_rng(sum(sizes)).normal(shift, scale, size=(sum(sizes), 3)).astype(np.float32)
    layer = Standardize(3)
    for part in np.split(rows, np.cumsum(sizes)[:-1]):
        layer(torch.from_numpy(part))
    wide = rows.astype(np.float64)
    size = np.abs(wide).max()
    assert layer.count.item() == len(rows)
    np.testing.assert_allclose(layer.mean.numpy(), wide.mean(0), rtol=1e-5, atol=1e-6 * size)
    np.testing.assert_allclose(layer.spread.numpy() / len(rows), wide.var(0), rtol=1e-3, atol=1e-5 * size**2)


def test_moments_of_a_long_stream_stay_exact() -> None:
    """A sum of squares minus a squared mean would have lost every digit of this variance."""
    rows = np.random.default_rng(0).normal(1000.0, 0.1, size=(20_000, 2)).astype(np.float32)
    layer = Standardize(2)
    for part in np.split(rows, 500):
        layer(torch.from_numpy(part))
    np.testing.assert_allclose(layer.mean.numpy(), rows.mean(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose((layer.spread / layer.count).numpy(), rows.var(0, dtype=np.float64), rtol=0.02)


def test_rows_come_out_standardised_and_clipped() -> None:
    rows = torch.from_numpy(np.random.default_rng(1).normal(5, 3, size=(500, 4))).float()
    layer = Standardize(4, clip=2.0)
    layer(rows)
    layer.eval()
    out = layer(rows).numpy()
    exact = (rows.numpy() - rows.numpy().mean(0)) / rows.numpy().std(0)
    np.testing.assert_allclose(out, exact.clip(-2, 2), atol=1e-4)
    assert np.abs(out).max() == 2.0


def test_moments_move_in_training_only() -> None:
    layer = Standardize(2)
    layer(torch.ones(3, 2))
    layer.eval()
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    layer(torch.full((3, 2), 9.0))
    assert all(torch.equal(before[name], buffer) for name, buffer in layer.named_buffers())


@pytest.mark.parametrize("value", [0.0, 7.0, -1e4])
def test_a_constant_feature_is_zero_not_nan(value: float) -> None:
    layer = Standardize(1)
    for _ in range(5):
        assert layer(torch.full((3, 1), value)).eq(0).all()


@pytest.mark.parametrize("value", [0.1, -1234.567, 98765.43, 1234567.8, 1e9, -1e18])
def test_the_rounding_of_a_constant_feature_is_not_blown_up(value: float) -> None:
    """The mean of equal floats is not always that float; that is no spread to divide by."""
    layer = Standardize(1)
    for number in range(200):
        assert layer(torch.full((1 + number * 7 % 50, 1), value)).abs().max() < 1e-6
    layer.eval()
    assert layer(torch.tensor([[value], [-value]])).abs().max() > 0.1, "what then changes is seen"


def test_a_small_spread_about_a_large_mean_is_still_scaled() -> None:
    rows = torch.from_numpy(np.random.default_rng(0).normal(1.6e9, 4e3, size=(5000, 1)).astype(np.float32))
    layer = Standardize(1)
    for part in rows.split(50):
        layer(part)
    layer.eval()
    assert layer(rows).std().item() == pytest.approx(1.0, rel=0.02)
