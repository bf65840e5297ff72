"""Adapters added up into one: exactly, with all their ranks side by side, or at a smaller rank by SVD.

    D = sum_i w_i s_i B_i A_i = [w_1 s_1 B_1, w_2 s_2 B_2, ...] [A_1; A_2; ...]

is of rank sum r_i at most. At a rank R below that, the best D_R in the Frobenius norm keeps the R greatest
singular values (Eckart & Young 1936), found from QR factors of both sides without ever forming D. What is
lost is told as |D - D_R| / |D| over all layers.

The invariant: adapters of one base and of the same layers, or nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tenuto.errors import ConfigError
from tenuto.trees import Tree


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """Adapters in one.

    Args:
        tensors: `<layer>.lora_A` (r, d_in) and `<layer>.lora_B` (d_out, r); the scale is in B.
        rank: r, of every layer.
        error: |D - D_R| / |D| over all layers; 0 where nothing was cut.
    """

    tensors: Tree
    rank: int
    error: float


def merge(adapters: Sequence[tuple[Tree, float]], *, rank: int | None = None) -> Merged:
    """The sum of adapters, each with its factor: weight times scale.

    Args:
        adapters: tensors by layer and side, as `Bank.tensors` and `loading.read` give them, and a factor.
        rank: to cut to; None: none is cut.

    Raises:
        ConfigError: there is none, they are of other layers or shapes, or a rank or factor is out of bounds.

    >>> a = {"0.lora_A": torch.tensor([[1.0, 0.0]]), "0.lora_B": torch.tensor([[3.0], [0.0]])}
    >>> b = {"0.lora_A": torch.tensor([[0.0, 1.0]]), "0.lora_B": torch.tensor([[0.0], [4.0]])}
    >>> merge([(a, 1.0), (b, 1.0)]).rank, merge([(a, 1.0), (b, 1.0)], rank=1).error
    (2, 0.6)
    """
    if not adapters or (rank is not None and rank < 1):
        raise ConfigError("to merge takes one adapter at least, and a rank of 1 at least")
    layers = sorted({name.rpartition(".")[0] for name in adapters[0][0]})
    for tensors, factor in adapters:
        _check(adapters[0][0], tensors, factor)
    found: Tree = {}
    lost = whole = 0.0
    for layer in layers:
        b = torch.cat([factor * tensors[f"{layer}.lora_B"].double() for tensors, factor in adapters], 1)
        a = torch.cat([tensors[f"{layer}.lora_A"].double() for tensors, _ in adapters])
        if rank is not None:
            b, a, cut, energy = _cut(b, a, rank)
            lost, whole = lost + cut, whole + energy
        found[f"{layer}.lora_A"], found[f"{layer}.lora_B"] = a.float(), b.float()
    reached = int(found[f"{layers[0]}.lora_A"].shape[0])
    return Merged(tensors=found, rank=reached, error=math.sqrt(lost / whole) if whole else 0.0)


def _check(first: Tree, tensors: Tree, factor: float) -> None:
    """Do these go with the first ones?"""
    if not math.isfinite(factor):
        raise ConfigError(f"the weight {factor} is no number to add up with")
    if odd := sorted(first.keys() ^ tensors.keys()):
        raise ConfigError(
            f"adapters of other layers do not add up: {', '.join(odd[:3])} is in one of them only"
        )
    for name, tensor in tensors.items():
        width = 1 if name.endswith("lora_A") else 0
        if tensor.shape[width] != first[name].shape[width]:
            raise ConfigError(f"{name} is of width {tensor.shape[width]}, not {first[name].shape[width]}")


def _cut(b: Tensor, a: Tensor, rank: int) -> tuple[Tensor, Tensor, float, float]:
    """B (d_out, R), A (R, d_in) of the greatest singular values, the energy cut off, and all of it.

    Where there are fewer values than R the rest is zero. Both sides get the root of each value.
    """
    left, upper = torch.linalg.qr(b)
    right, lower = torch.linalg.qr(a.T)
    u, values, v = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    kept = min(rank, len(values))
    roots = values[:kept].sqrt()
    whole_b, whole_a = b.new_zeros(len(b), rank), a.new_zeros(rank, a.shape[1])
    whole_b[:, :kept] = (left @ u[:, :kept]) * roots
    whole_a[:kept] = roots[:, None] * (v[:kept] @ right.T)
    energies = values.square()
    return whole_b, whole_a, float(energies[kept:].sum()), float(energies.sum())
