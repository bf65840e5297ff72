"""Bases against their closed forms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tenuto import subspace
from tenuto.errors import StateError


def normal(n: int, d: int, seed: int = 0, rank: int | None = None) -> Tensor:
    """Rows (n, d) of unequal energies, of at most this rank."""
    draws = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, rank or d, generator=draws) * torch.logspace(0, -2, rank or d)
    return rows @ torch.linalg.qr(torch.randn(d, d, generator=draws))[0][: rank or d]


def skew(basis: Tensor) -> float:
    """How far M^T M is from the identity."""
    return float((basis.T @ basis - torch.eye(basis.shape[1])).abs().max()) if basis.shape[1] else 0.0


sizes = st.integers(1, 12)


@given(sizes, sizes, sizes, st.integers(0, 99), st.floats(0.0, 1.0))
@settings(max_examples=100, deadline=None)
def test_a_basis_stays_orthonormal_keeps_what_it_had_and_captures_enough(
    n: int, m: int, d: int, seed: int, threshold: float
) -> None:
    first, second = normal(n, d, seed), normal(m, d, seed + 1)
    one = subspace.cover(subspace.empty(first), first, threshold=threshold)
    two = subspace.cover(one, second, threshold=threshold)
    assert torch.equal(two[:, : one.shape[1]], one)
    assert two.shape[1] <= d
    assert skew(two) < 1e-5
    assert subspace.captured(first, one) >= threshold - 1e-6
    assert subspace.captured(second, two) >= threshold - 1e-6
    assert (
        subspace.remove(first, two).norm() <= first.norm() * max(1 - threshold, 1e-10) ** 0.5 * 1.001 + 1e-5
    )


def test_as_few_directions_as_will_do() -> None:
    """Energies 64, 25, 9, 2 of 100: the leading ones are taken until the share is reached."""
    rows = torch.diag(torch.tensor([2.0, 25.0, 9.0, 64.0]).sqrt())
    for threshold, count in ((0.0, 0), (0.5, 1), (0.64, 1), (0.65, 2), (0.89, 2), (0.9, 3), (0.99, 4)):
        basis = subspace.cover(subspace.empty(rows), rows, threshold=threshold)
        assert basis.shape == (4, count), threshold
        assert subspace.captured(rows, basis) == pytest.approx(sum([0.64, 0.25, 0.09, 0.02][:count]))


def test_energy_held_already_counts() -> None:
    rows = torch.diag(torch.tensor([3.0, 4.0]))
    held = torch.tensor([[0.0], [1.0]])
    assert subspace.cover(held, rows, threshold=0.64) is held
    assert subspace.cover(held, rows, threshold=0.65).shape == (2, 2)


@pytest.mark.parametrize("n", [3, 50])
def test_dependent_rows_add_no_direction(n: int) -> None:
    """With fewer rows than columns, and with more."""
    rows = normal(n, 10, rank=3)
    basis = subspace.span(subspace.empty(rows), rows)
    assert basis.shape == (10, 3)
    assert subspace.remove(rows, basis).abs().max() < 1e-5
    assert subspace.span(basis, rows + rows.flip(0)) is basis


@given(sizes, sizes, st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_basis_and_its_complement_are_the_whole(n: int, d: int, seed: int) -> None:
    rows = normal(n, d, seed)
    basis = subspace.span(subspace.empty(rows), rows)
    rest = subspace.complement(basis)
    assert skew(torch.cat([basis, rest], 1)) < 1e-5
    assert basis.shape[1] + rest.shape[1] == d
    others = normal(5, d, seed + 1)
    torch.testing.assert_close(others @ rest @ rest.T, subspace.remove(others, basis), atol=1e-5, rtol=1e-4)


def test_a_full_basis_takes_no_more_and_zeros_no_direction() -> None:
    full = torch.eye(3)
    assert subspace.cover(full, normal(5, 3), threshold=1.0) is full
    nothing = subspace.empty(full)
    assert subspace.cover(nothing, torch.zeros(4, 3), threshold=1.0) is nothing
    assert subspace.captured(torch.zeros(4, 3), nothing) == 1.0


@given(sizes, sizes, sizes, sizes, st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_a_basis_gives_way_but_for_what_others_need(n: int, m: int, k: int, d: int, seed: int) -> None:
    """The rows that stay needed lie in the span as much as before, the others' released share is gone."""
    basis = subspace.span(torch.zeros(d, 0), normal(k, d, seed))
    given_up, needed = normal(n, d, seed + 1), normal(m, d, seed + 2) @ basis @ basis.T
    left = subspace.released(basis, given_up, needed, threshold=1.0)
    assert skew(left) < 1e-5
    assert subspace.captured(left.T, basis) > 1 - 1e-6
    assert subspace.remove(needed, left).norm() <= 1e-4 * (1 + needed.norm())
    inside = given_up @ basis
    free = subspace.remove(inside, subspace.span(torch.zeros(basis.shape[1], 0), needed @ basis))
    gone = subspace.remove(free @ basis.T, left).norm()
    assert gone == pytest.approx(float(free.norm()), abs=1e-3 * (1 + float(inside.norm())))


def test_a_basis_that_is_not_one_is_repaired_or_refused() -> None:
    skewed = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    repaired = subspace.sound(skewed, 3)
    assert subspace.skew(repaired) < 1e-6
    assert subspace.captured(skewed.T, repaired) > 1 - 1e-6
    good = torch.eye(3)[:, :2]
    assert subspace.sound(good, 3) is good
    for bad, why in ((good * torch.inf, "NaN or infinity"), (good, "4 wide")):
        with pytest.raises(StateError, match=why):
            subspace.sound(bad, 4 if bad is good else 3)
