"""One layer's adapter as blocks: those that are frozen, and the one that learns where no past input reaches.

    y = W x + s (B_f A_f x + B (A - (A M) M^T) x),    M (d, m) orthonormal: the inputs that are protected

Whatever an optimizer makes of A, with momentum, Adam or weight decay, (A - (A M) M^T) x = 0 for every x in
the span of M, and B is free. `Down` and `Up` stand in for PEFT's `lora_A` and `lora_B`: their `weight` is
what the layer computes with, frozen blocks included, so that PEFT's own forward and merge see the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto import subspace
from tenuto.randomness import torch_draws


class Outside(torch.autograd.Function):
    """Rows A - (A M) M^T, twice for the rounding; their gradient, which is not what protects, once.

    Its context is set up in `forward`: for a `setup_context` torch inspects signatures at every call.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, basis: Tensor) -> Tensor:
        """Rows (r, d) without their part in the span of a basis (d, m)."""
        ctx.save_for_backward(basis)
        return subspace.remove(subspace.remove(rows, basis), basis)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient of the rows."""
        (basis,) = ctx.saved_tensors
        return subspace.remove(gradients[0], basis), None


class Down(nn.Module):
    """The rows of A: the learning block's, kept out of the span of `basis`, and behind them the frozen ones.

    Args:
        free: A (r, d) of the learning block, a parameter.

    Attributes:
        beside: those that read the same inputs. The first of them that is asked makes the learning blocks of
            all, so that the basis is read once.
        stand_in: what is computed with in place of `free`, (r, d), while a block is tried; else None.

    >>> down = Down(nn.Parameter(torch.tensor([[3.0, 4.0]])))
    >>> down.basis = torch.tensor([[1.0], [0.0]])
    >>> down(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [[0.0], [4.0]]
    """

    def __init__(self, free: nn.Parameter) -> None:
        super().__init__()
        self.free = free
        self.basis = free.new_zeros(free.shape[1], 0)
        self.frozen = free.new_zeros(0, free.shape[1])
        self.beside: tuple[Down, ...] = ()
        self.stand_in: Tensor | None = None
        self._made: tuple[Tensor, int, Tensor, Tensor, bool, Tensor] | None = None

    @property
    def block(self) -> Tensor:
        """What the learning block computes with: A - (A M) M^T, twice for the rounding."""
        return _outside([self])[0]

    @property
    def rows(self) -> Tensor:
        """A (r, d) as it is given."""
        return self.free if self.stand_in is None else self.stand_in

    @property
    def weight(self) -> Tensor:
        """All rows (r + R, d). PEFT asks for its dtype before each forward pass, which then finds it made."""
        if self._made is None or not self._holds(self._made):
            group = [self, *(one for one in self.beside if one.basis is self.basis)]
            for one, block in zip(group, _outside(group), strict=True):
                one._make(block)
        made: Tensor = self._made[-1]  # type: ignore[index]
        return made

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., d) to (..., r + R)."""
        weight, self._made = self.weight, None
        return F.linear(inputs, weight)

    def _make(self, block: Tensor) -> None:
        weight = block if not len(self.frozen) else torch.cat([block, self.frozen])
        graph = torch.is_grad_enabled()
        self._made = (self.rows, self.rows._version, self.basis, self.frozen, graph, weight)

    def _holds(self, made: tuple[Tensor, int, Tensor, Tensor, bool, Tensor]) -> bool:
        """Was this made of the present parameters, and with or without a graph as is asked now?"""
        rows, version, basis, frozen, graph, _ = made
        now = (self.rows._version, torch.is_grad_enabled())
        same = rows is self.rows and basis is self.basis and frozen is self.frozen
        return same and (version, graph) == now

    def leak(self) -> float:
        """|A_eff M| / |A_eff| of the learning block, Frobenius norms; 0 where M is everything, or nothing."""
        block, (width, held) = self.block.detach().double(), self.basis.shape
        size = float(block.norm())
        return float((block @ self.basis.double()).norm()) / size if size and 0 < held < width else 0.0

    def extra_repr(self) -> str:
        """Its sizes."""
        rank, width = self.free.shape
        return f"{width} -> {rank} + {len(self.frozen)}, protected {self.basis.shape[1]}"


class Up(nn.Module):
    """The columns of B: the learning block's, and behind them the frozen ones.

    Args:
        free: B (d_out, r) of the learning block, a parameter.
    """

    def __init__(self, free: nn.Parameter) -> None:
        super().__init__()
        self.free = free
        self.frozen = free.new_zeros(free.shape[0], 0)

    @property
    def weight(self) -> Tensor:
        """All columns (d_out, r + R)."""
        return self.free if not self.frozen.shape[1] else torch.cat([self.free, self.frozen], 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., r + R) to (..., d_out)."""
        return F.linear(inputs, self.weight)


def _outside(group: Sequence[Down]) -> Sequence[Tensor]:
    """The learning blocks of these, which have one basis."""
    given, basis = [one.rows for one in group], group[0].basis
    if not basis.shape[1]:
        return given
    rows = given[0] if len(given) == 1 else torch.cat(given)
    made: Tensor = Outside.apply(rows, basis)  # type: ignore[no-untyped-call]
    return torch.split(made, [len(one) for one in given])


def freeze(down: Down, up: Up, *, most: int) -> float:
    """Let the learning block join the frozen ones; what compressing them to rank `most` lost, as a share of
    their norm. A block whose B is zero says nothing and is left out."""
    with torch.no_grad():
        if not bool(up.free.any()):
            return 0.0
        down.frozen = torch.cat([down.block, down.frozen]).detach()
        up.frozen = torch.cat([up.free, up.frozen], 1).detach()
        if len(down.frozen) <= most:
            return 0.0
        down.frozen, up.frozen, lost = compressed(down.frozen, up.frozen, most)
        return lost


def begin(down: Down, up: Up, basis: Tensor, *, seed: int, name: str, number: int) -> None:
    """Begin a new block in the null space of a basis: A drawn as PEFT draws it, B zero."""
    bound = 1 / math.sqrt(down.free.shape[1])
    with torch.no_grad(), torch_draws(seed, f"block:{name}", number):
        drawn = torch.empty(down.free.shape).uniform_(-bound, bound)
        down.basis = basis
        down.free.copy_(drawn)
        down.free.copy_(down.block)
        up.free.zero_()


def compressed(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor, float]:
    """The nearest B A of this rank, for A (R, d) and B (d_out, R), and the share of the norm that it lost.

    >>> a, b, lost = compressed(torch.eye(3)[:2], torch.eye(3)[:, :2] * torch.tensor([4.0, 3.0]), 1)
    >>> (b @ a).round(decimals=4).tolist()[0], round(lost, 4)
    ([4.0, 0.0, 0.0], 0.6)
    """
    q_in, r_in = torch.linalg.qr(a.double().T)
    q_out, r_out = torch.linalg.qr(b.double())
    left, sizes, right = torch.linalg.svd(r_out @ r_in.T, full_matrices=False)
    roots = sizes[:rank].sqrt()
    near_a, near_b = roots[:, None] * (right[:rank] @ q_in.T), (q_out @ left[:, :rank]) * roots
    total = float(sizes.square().sum())
    lost = math.sqrt(float(sizes[rank:].square().sum()) / total) if total else 0.0
    return near_a.to(a), near_b.to(b), lost
