"""How much of a drifting stream a basis captures that sees each row once, beside the SVD of all rows.

    x_t = cos(a_t) Q_0 D g + sin(a_t) Q_1 D g',   D_i = i^(-3/4),   a_t from 0 to pi/2

unit-normalised, d = 512: the energies of both ends fall as i^(-3/2), and the leading directions turn from
those of Q_0 to those of Q_1. Rows come 16 an update; every basis has m = 64 directions. Captured is the share
of the energy of all rows in the span of the basis at the end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.timing import table
from tenuto import subspace
from tenuto.sketches import KINDS, GramSchmidt, sketch

WIDTH, SIZE, ROWS, TOGETHER = 512, 64, 20_000, 16
FALL = 0.75
ENOUGH = 0.95
"""Of the energy that the SVD of all rows captures with as many directions."""


def stream(seed: int) -> Tensor:
    """The rows (ROWS, WIDTH)."""
    draws = torch.Generator().manual_seed(seed)
    sizes = torch.arange(1, WIDTH + 1) ** -FALL
    ends = []
    for _ in range(2):
        turned = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=draws))[0]
        ends.append((torch.randn(ROWS, WIDTH, generator=draws) * sizes) @ turned)
    angle = torch.linspace(0, math.pi / 2, ROWS)[:, None]
    return normalize(angle.cos() * ends[0] + angle.sin() * ends[1], dim=1)


def captured(kind: str, rows: Tensor) -> tuple[float, float, int]:
    """The share of the energy, CPU milliseconds an update, and how many directions were replaced."""
    seen = sketch(kind, size=SIZE, width=WIDTH)
    start = time.process_time()
    for some in rows.split(TOGETHER):
        seen.add(some)
    spent = (time.process_time() - start) * 1e3 * TOGETHER / len(rows)
    basis = subspace.span(rows.new_zeros(WIDTH, 0), seen.rows())
    replaced = seen.replaced if isinstance(seen, GramSchmidt) else 0
    return subspace.captured(rows, basis), spent, replaced


def best(rows: Tensor) -> float:
    """What the leading right singular vectors of all rows capture."""
    energies = torch.linalg.eigvalsh(rows.double().T @ rows.double()).flip(0)
    return float(energies[:SIZE].sum() / energies.sum())


def show(seeds: Sequence[int], _out: Path) -> None:
    """Measure and print."""
    lines = []
    for seed in seeds:
        rows = stream(seed)
        offline = best(rows)
        lines.append([f"offline SVD, seed {seed}", f"{offline:.3f}", "1.000", "", "", ""])
        for kind in KINDS:
            share, spent, replaced = captured(kind, rows)
            met = "met" if share >= ENOUGH * offline else "missed"
            lines.append(
                [kind, f"{share:.3f}", f"{share / offline:.3f}", met, str(replaced or ""), f"{spent:.2f}"]
            )
    print(f"Streaming: {ROWS} rows at d = {WIDTH}, m = {SIZE}, seeds {', '.join(map(str, seeds))}")
    head = ["", "captured", "of the SVD's", f">= {ENOUGH}", "replaced", "CPU ms / update"]
    print(table(head, lines))
