"""Sketches of streams: their bounds, what they admit and replace, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tenuto import subspace
from tenuto.errors import ConfigError, StateError
from tenuto.sketches import KINDS, FrequentDirections, GramSchmidt, sketch

sizes = st.integers(1, 12)


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    """Rows (n, d) of unequal energies."""
    draws = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, d, generator=draws) * torch.logspace(0, -2, d)
    return rows @ torch.linalg.qr(torch.randn(d, d, generator=draws))[0]


def units(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.nn.functional.normalize(normal(n, d, seed), dim=1)


@given(sizes, st.integers(1, 8), st.integers(1, 60), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_the_sketch_keeps_its_bound(size: int, width: int, n: int, seed: int) -> None:
    """0 <= A^T A - B^T B <= |A|^2 / (size + 1), and exact below the size (Liberty 2013)."""
    rows = normal(n, width, seed)
    sketch = FrequentDirections(size=size, width=width)
    for part in rows.split(7):
        sketch.add(part)
    kept = sketch.rows()
    assert len(kept) <= size
    missing = torch.linalg.eigvalsh((rows.T @ rows - kept.T @ kept).double())
    energy = float(rows.square().sum())
    assert missing.min() >= -1e-5 * energy
    assert missing.max() <= energy / (size + 1) + 1e-5 * energy
    if min(n, width) <= size:
        assert missing.max() <= 1e-4 * energy


def test_a_sketch_resumes_bit_for_bit() -> None:
    rows = normal(40, 6)
    whole, first, second = (FrequentDirections(size=3, width=6) for _ in range(3))
    whole.add(rows[:11])
    whole.add(rows[11:])
    first.add(rows[:11])
    second.load_state(first.state())
    second.add(rows[11:])
    assert torch.equal(whole.rows(), second.rows())
    with pytest.raises(StateError, match=r"\(6, 6\), this one \(6, 5\)"):
        FrequentDirections(size=3, width=5).load_state(first.state())


@given(st.integers(2, 8), st.integers(4, 10), st.integers(1, 80), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_the_sketch_is_bounded_by_what_the_best_of_fewer_directions_leaves(
    size: int, width: int, n: int, seed: int
) -> None:
    """0 <= A^T A - B^T B <= |A - A_k|^2 / (size - k) for every k below the size (Ghashami et al. 2016)."""
    rows = normal(n, width, seed)
    sketch = FrequentDirections(size=size, width=width)
    for part in rows.split(5):
        sketch.add(part)
    kept = sketch.rows()
    missing = torch.linalg.eigvalsh((rows.T @ rows - kept.T @ kept).double())
    energies = torch.linalg.svdvals(rows.double()).square()
    slack = 1e-5 * float(energies.sum())
    assert missing.min() >= -slack
    for k in range(size):
        assert missing.max() <= float(energies[k:].sum()) / (size - k) + slack


@given(sizes, sizes, st.integers(1, 40), st.integers(0, 99), st.floats(0.05, 0.9))
@settings(max_examples=100, deadline=None)
def test_directions_are_orthonormal_and_nothing_novel_is_left_out_while_there_is_room(
    size: int, width: int, n: int, seed: int, novelty: float
) -> None:
    """Every row seen lies within `novelty` of the span; no row does that another span would have refused."""
    rows = units(n, width, seed)
    basis = GramSchmidt(size=size, width=width, novelty=novelty)
    for part in rows.split(3):
        basis.add(part)
    held = basis.directions.T
    assert held.shape[1] <= min(size, width)
    assert subspace.skew(held) < 1e-6
    if not basis.replaced:
        assert subspace.remove(rows, held).norm(dim=1).max() < novelty + 1e-5
    for row in held.T:
        assert subspace.captured(row[None], torch.linalg.qr(rows.T)[0]) > 1 - 1e-6


def test_what_is_admitted_is_what_is_novel() -> None:
    """A row 0.49 of which is new adds nothing, one 0.51 of which is new adds that part."""
    for new, held in ((0.49, 1), (0.51, 2)):
        basis = GramSchmidt(size=3, width=3)
        basis.add(torch.tensor([[1.0, 0.0, 0.0], [(1 - new**2) ** 0.5, 0.0, new]]))
        torch.testing.assert_close(basis.directions, torch.eye(3)[[0, 2]][:held])


def test_the_least_used_direction_of_the_last_1000_updates_gives_its_place() -> None:
    axes = torch.eye(4)
    basis = GramSchmidt(size=2, width=4)
    for _ in range(50):
        basis.add(axes[:1])
    for _ in range(3):
        basis.add(axes[1:2])
    basis.add(axes[2:3])
    assert torch.equal(basis.directions, axes[[0, 2]])
    for _ in range(1000):
        basis.add(axes[2:3])
    basis.add(axes[3:4])
    assert torch.equal(basis.directions, axes[[3, 2]])
    assert basis.replaced == 2
    torch.testing.assert_close(basis.rows().norm(dim=1).square(), torch.tensor([1.0, 954.0]))


def test_a_basis_that_lost_its_orthogonality_is_made_so_again_in_float64() -> None:
    rows = units(30, 20)
    whole = GramSchmidt(size=8, width=20, novelty=0.1)
    whole.add(rows)
    saved = whole.state()
    skewed = {**saved, "slots": saved["slots"] + 1e-3 * normal(8, 20, 5)}
    repaired = GramSchmidt(size=8, width=20, novelty=0.1)
    repaired.load_state(skewed)
    assert subspace.skew(skewed["slots"].T) > 1e-4
    assert subspace.skew(repaired.directions.T) < 1e-6
    assert (repaired.directions - saved["slots"]).abs().max() < 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_a_direction_or_not_finite_is_left_out(kind: str) -> None:
    rows = units(6, 5)
    odd = torch.tensor([[0.0] * 5, [float("nan")] * 5, [float("inf"), 0, 0, 0, 0], [1e-13] * 5])
    clean, mixed = (sketch(kind, size=3, width=5) for _ in range(2))
    clean.add(rows)
    mixed.add(torch.cat([odd, rows, odd]))
    assert len(clean.rows())
    assert torch.equal(clean.rows(), mixed.rows())


@pytest.mark.parametrize("kind", KINDS)
def test_either_kind_resumes_bit_for_bit(kind: str) -> None:
    rows = units(60, 12)
    whole, first, second = (sketch(kind, size=4, width=12, novelty=0.3) for _ in range(3))
    for part in rows.split(5):
        whole.add(part)
    for part in rows[:25].split(5):
        first.add(part)
    second.load_state(first.state())
    for part in rows[25:].split(5):
        second.add(part)
        first.add(part)
    assert torch.equal(whole.rows(), second.rows())
    assert torch.equal(first.rows(), second.rows())
    with pytest.raises(StateError, match=r"saved .* \("):
        sketch(kind, size=4, width=11).load_state(first.state())


def test_there_are_no_other_kinds() -> None:
    with pytest.raises(ConfigError, match="frequent_directions, gram_schmidt, not 'svd'"):
        sketch("svd", size=1, width=1)


def test_wide_and_narrow_rows_are_shrunk_alike() -> None:
    """Through the Gram matrix of rows or of columns: the rows of a sketch that are held are the same."""
    rows = normal(40, 6)
    narrow, wide = FrequentDirections(size=4, width=6), FrequentDirections(size=4, width=30)
    narrow.add(rows)
    wide.add(torch.nn.functional.pad(rows, (0, 24)))
    grams = [kept.T @ kept for kept in (narrow.rows(), wide.rows()[:, :6])]
    torch.testing.assert_close(*grams, atol=1e-4, rtol=1e-4)
