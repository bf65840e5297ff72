"""Keeps every parameter, and how far one update moves a layer, within bounds.

    max |theta + u| <= weight        |u_l| <= share * max(|theta_l|, 0.05 sqrt(size_l)) in every layer l

A weight beyond its bound is refused unless it moves inwards, so that a learner that starts outside is not
frozen. A layer that would move too far makes the whole update smaller (You et al. 2017 bound the same ratio,
layer by layer; one factor for all keeps the direction, and so what an update rule has projected).

Error rate: none; the bounds hold after every kept update, by construction. A learner whose weights stay below
100 and whose layers move by less than a tenth of their norm is never touched; the first steps at a high rate
move further and are made smaller, which refuses no row.

Not for a head that is computed rather than trained (SLDA, the class means of SCR): it moves far by design.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from tenuto.config import Limits
from tenuto.types import KEEP, Ruling, State, Trace, Verdict

LEAST = 0.05
"""The root mean square that a layer near zero counts as having."""


class Bounds:
    """Refuse weights out of bounds; shorten moves that are too long."""

    def __init__(self, weight: float, share: float) -> None:
        self._weight, self._share = weight, share

    def judge(self, trace: Trace) -> Verdict:
        """Reject a parameter that leaves its bound, shorten a move beyond its share."""
        if not trace.update.tree or not trace.update.scale:
            return KEEP
        moves, params = list(trace.update.tree.values()), [trace.params[name] for name in trace.update.tree]
        with torch.no_grad():
            scale, worst, farthest = self._shorten(trace, moves, params)
            if math.isnan(scale):
                return Verdict(Ruling.REJECT, f"the update of step {trace.step} is not finite")
            factor = trace.update.scale * scale
            if not farthest <= self._weight and (beyond := self._beyond(trace, moves, params, factor)):
                return Verdict(Ruling.REJECT, beyond)
        if scale < 1.0:
            reason = f"the update of step {trace.step} moves {worst} by more than {self._share:g} of its norm"
            return Verdict(Ruling.KEEP, reason, scale=scale)
        return KEEP

    def _shorten(self, trace: Trace, moves: list[Tensor], params: list[Tensor]) -> tuple[float, str, float]:
        """The share of the update that keeps every layer within its own, the layer that sets it, and a length
        that no weight exceeds then."""
        lengths = torch.stack([*torch._foreach_norm(moves), *torch._foreach_norm(params)]).tolist()
        moved, held = [abs(trace.update.scale) * x for x in lengths[: len(moves)]], lengths[len(moves) :]
        if not all(map(math.isfinite, moved)):
            return math.nan, "", math.inf
        layers: dict[str, list[float]] = {}
        for name, param, length, move in zip(trace.update.tree, params, held, moved, strict=True):
            layer = layers.setdefault(name.rpartition(".")[0] or name, [0.0, 0.0, 0.0])
            layer[0] += move * move
            layer[1] += length * length
            layer[2] += LEAST * LEAST * param.numel()
        room = {
            name: self._share * math.sqrt(max(length, least) / move)
            for name, (move, length, least) in layers.items()
            if move
        }
        worst = min(room, key=room.__getitem__, default="")
        scale = min(1.0, room.get(worst, 1.0))
        return scale, worst, max(a + scale * b for a, b in zip(held, moved, strict=True))

    def _beyond(self, trace: Trace, moves: list[Tensor], params: list[Tensor], factor: float) -> str:
        """What would leave its bound, or nothing."""
        before, after = _widest(params), _widest(list(torch._foreach_add(params, moves, alpha=factor)))
        for name, old, new in zip(trace.update.tree, before, after, strict=True):
            if not new <= self._weight and not new < old:
                return f"step {trace.step} would bring {name} to {new:.4g}; its bound is {self._weight:g}"
        return ""

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


def _widest(tensors: list[Tensor]) -> list[float]:
    found: list[float] = torch.stack(torch._foreach_norm(tensors, float("inf"))).tolist()
    return found


def guard(
    weight: Annotated[float, Limits(low=0.0, usual=(10.0, 1000.0))] = 100.0,
    share: Annotated[float, Limits(low=1e-6, usual=(0.01, 1.0))] = 0.1,
) -> Bounds:
    """The parameter bounds.

    Args:
        weight: the largest magnitude of any parameter.
        share: the most one update may move a layer, weights and biases, as a share of its norm.

    >>> guard(share=0.1).state()
    {}
    """
    return Bounds(weight, share)
