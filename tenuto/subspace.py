"""Orthonormal bases of what must not change: extension, captured energy, and what gives way.

A basis M is (d, k) with M^T M = I. The rows R (n, d) lose their part in its span by R - (R M) M^T.
A basis grows by the leading right singular vectors of that residual until it captures the share
|R M|^2 / |R|^2 >= threshold of the rows' energy (Saha et al. 2021). It never has more than d columns.
Singular vectors are found in float64 on the CPU; a basis keeps its dtype and its device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto.errors import StateError

NEGLIGIBLE = 1e-6
"""A direction this much shorter than the longest row is rounding, not a direction."""
ORTHONORMAL = 1e-5
"""How far M^T M may be from the identity before a basis is made orthonormal anew."""


def empty(like: Tensor) -> Tensor:
    """The basis (d, 0) of nothing, for rows (n, d).

    >>> empty(torch.zeros(5, 3)).shape
    torch.Size([3, 0])
    """
    return like.new_zeros(like.shape[1], 0)


def remove(rows: Tensor, basis: Tensor) -> Tensor:
    """Rows (n, d) without their part in the span of a basis (d, k).

    >>> remove(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0], [0.0]]))
    tensor([[0., 4.]])
    """
    return torch.addmm(rows, rows @ basis, basis.T, alpha=-1)


def captured(rows: Tensor, basis: Tensor) -> float:
    """The share of the energy |rows|^2 that lies in the span of a basis; 1 where there is no energy.

    >>> captured(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0], [0.0]]))
    0.36
    """
    exact = rows.double()
    total = float(exact.square().sum())
    return round(float((exact @ basis.double()).square().sum()) / total, 12) if total else 1.0


def span(basis: Tensor, rows: Tensor) -> Tensor:
    """A basis (d, k) extended until it spans rows (n, d): Gram-Schmidt, dependent rows left out.

    >>> span(torch.tensor([[1.0], [0.0]]), torch.tensor([[5.0, 0.0], [1.0, -2.0]])).shape
    torch.Size([2, 2])
    """
    return cover(basis, rows, threshold=1.0)


def cover(basis: Tensor, rows: Tensor, *, threshold: float, most: int | None = None) -> Tensor:
    """A basis (d, k) extended by as few directions as capture this share of the energy of rows (n, d).

    What it held stays as it is, bit for bit, in front. With `most` it never has more columns than that.

    >>> cover(torch.zeros(2, 0), torch.tensor([[3.0, 0.0], [0.0, 1.0]]), threshold=0.9).abs()
    tensor([[1.],
            [0.]])
    """
    exact, held = rows.detach().cpu().double(), basis.cpu().double()
    total = float(exact.square().sum())
    room = min(held.shape[0], held.shape[0] if most is None else most) - held.shape[1]
    if not total or room <= 0:
        return basis
    residual = remove(remove(exact, held), held)
    lengths, directions = _singular(residual)
    left = float(residual.square().sum())
    shares = (total - left + lengths.square().cumsum(0)) / total
    needed = int((shares < threshold).sum()) + 1 if (total - left) / total < threshold else 0
    floor = NEGLIGIBLE * float(exact.norm(dim=1).max())
    count = min(needed, int((lengths > floor).sum()), room)
    if not count:
        return basis
    fresh = torch.linalg.qr(remove(directions[:, :count].T, held).T)[0]
    return torch.cat([basis, fresh.to(basis)], 1)


def leading(rows: Tensor, basis: Tensor, count: int) -> Tensor:
    """The leading directions (at most `count`, d) of what of rows (n, d) lies outside a basis (d, k).

    >>> leading(torch.tensor([[3.0, 4.0], [3.0, 0.0]]), torch.tensor([[1.0], [0.0]]), 2).abs()
    tensor([[0., 1.]])
    """
    exact, held = rows.detach().cpu().double(), basis.cpu().double()
    lengths, directions = _singular(remove(remove(exact, held), held))
    floor = NEGLIGIBLE * float(exact.norm(dim=1).max()) if len(exact) else 0.0
    found = directions[:, : min(count, int((lengths > floor).sum()))].T
    return remove(found, held).to(rows)


def released(basis: Tensor, rows: Tensor, kept: Tensor, *, threshold: float) -> Tensor:
    """A basis (d, k) without as few directions as hold this share of what of rows (n, d) lies in its span and
    is not needed for others, `kept` (m, d), whose part in the span stays.

    >>> held, new = torch.eye(3)[:, :2], torch.tensor([[1.0, 1.0, 0.0]])
    >>> released(held, new, torch.tensor([[1.0, 0.0, 0.0]]), threshold=1.0).abs()
    tensor([[1.],
            [0.],
            [0.]])
    """
    exact = basis.double()
    needed = span(empty(exact.T[:0] @ exact), kept.double() @ exact) if len(kept) else None
    inside = rows.double() @ exact
    if needed is not None:
        inside = remove(remove(inside, needed), needed)
    if float(inside.norm()) <= NEGLIGIBLE * float(rows.norm()):
        return basis
    gone = cover(empty(inside), inside, threshold=threshold)
    return (exact @ complement(gone)).to(basis) if gone.shape[1] else basis


def sound(basis: Tensor, width: int) -> Tensor:
    """A basis (d, k) whose M^T M is within 1e-5 of I: itself, or its span made orthonormal anew.

    Raises:
        StateError: it is of another width, or holds NaN or infinity.

    >>> sound(torch.tensor([[2.0], [0.0]]), 2).abs()
    tensor([[1.],
            [0.]])
    """
    if basis.dim() != 2 or basis.shape[0] != width:
        raise StateError(f"a basis of shape {tuple(basis.shape)} is given where inputs are {width} wide")
    if not bool(basis.isfinite().all()):
        raise StateError("a basis holds NaN or infinity")
    exact = basis.detach().double()
    if not basis.shape[1] or skew(exact) < ORTHONORMAL:
        return basis
    return span(empty(basis.T), exact.T.to(basis.dtype))


def skew(basis: Tensor) -> float:
    """How far M^T M is from the identity: the largest entry of the difference.

    >>> skew(torch.eye(3)[:, :2])
    0.0
    """
    if not basis.shape[1]:
        return 0.0
    exact = basis.double()
    return float((exact.T @ exact - torch.eye(basis.shape[1], device=basis.device)).abs().max())


def complement(basis: Tensor) -> Tensor:
    """A basis (d, d - k) of all that is orthogonal to a basis (d, k); the same bits for the same bits.

    >>> complement(torch.tensor([[1.0], [0.0]])).abs()
    tensor([[0.],
            [1.]])
    """
    whole: Tensor = torch.linalg.qr(basis.cpu().double(), mode="complete")[0]
    return whole[:, basis.shape[1] :].to(basis)


def _singular(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values in descending order and right singular vectors (d, m) of rows (n, d)."""
    if len(rows) <= rows.shape[1]:
        _, lengths, directions = torch.linalg.svd(rows, full_matrices=False)
        return lengths, directions.T
    squares, directions = torch.linalg.eigh(rows.T @ rows)
    return squares.flip(0).clamp(min=0).sqrt(), directions.flip(1)
