"""A quadratic penalty around remembered weights, which EWC, SI and MAS share.

    penalty = 1/2 sum_i P_i (theta_i - theta*_i)^2,   gradient = min(P, 1 / learning_rate) (theta - theta*)

P >= 0 is the precision: the method's strength times its importance F. It acts up to 1 / learning_rate,
where a step of plain SGD leads back to theta* at once; from twice that on each step would overshoot by
more than the last, and no update would be fit to keep. Parameters gained since the last consolidation are
free: their precision is zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tenuto import trees
from tenuto.trees import Tree
from tenuto.types import State


class Quadratic:
    """The precision and the anchor theta*; nothing until `hold`.

    >>> pull = Quadratic(); pull.hold({"w": torch.tensor([2.0])}, {"w": torch.tensor([1.0])})
    >>> pull.gradient({"w": torch.tensor([4.0, 5.0])})
    {'w': tensor([6., 0.])}
    """

    def __init__(self) -> None:
        self.precision: Tree = {}
        self.anchor: Tree = {}
        self._rate = 0.0
        self._factor = 1.0
        self._acting: Tree = {}

    def gradient(self, params: Tree, onto: Tree | None = None) -> Tree | None:
        """The penalty's gradient, added to `onto` where given, in tensors of its own; None before `hold`."""
        if not self._acting:
            return None
        anchors = [self.anchor[name] for name in params]
        weights = list(params.values())
        grown = [p.shape for p in weights] != [anchor.shape for anchor in anchors]
        known = [_known(p, anchor) for p, anchor in zip(weights, anchors, strict=True)] if grown else weights
        pulls = torch._foreach_sub(known, anchors)
        acting = [self._acting[name] for name in params]
        if onto is None:
            torch._foreach_mul_(pulls, acting)
            return {name: trees.fit(pull, p) for (name, p), pull in zip(params.items(), pulls, strict=True)}
        for pull, hold, grad in zip(pulls, acting, onto.values(), strict=True):
            torch.addcmul(_known(grad, pull) if grown else grad, pull, hold, out=pull)
        if not grown:
            return trees.like(onto, pulls)
        return {
            name: pull if pull.shape == grad.shape else torch.cat([pull, grad[len(pull) :]])
            for (name, grad), pull in zip(onto.items(), pulls, strict=True)
        }

    def hold(self, precision: Tree, anchor: Tree, rate: float = 0.0) -> None:
        """From here on, pull towards this anchor with this precision, up to 1 / rate."""
        self.precision, self.anchor, self._rate = trees.copy(precision), trees.copy(anchor), rate
        self._acting = {}
        self._act()

    def protect(self, factor: float) -> None:
        """Pull with so many times the precision, up to the same bound."""
        self._factor = factor
        self._act()

    def _act(self) -> None:
        bound = 1 / self._rate if self._rate > 0 else math.inf
        for name, leaf in self.precision.items():
            asked = leaf if self._factor == 1.0 else self._factor * leaf
            self._acting[name] = asked.clamp(max=bound) if bool((asked > bound).any()) else asked

    def renew(self, precision: Tree, params: Tree, rate: float, keep: float = 1.0) -> None:
        """P <- keep * P + precision, anchored at the parameters as they are.

        Args:
            rate: the learning rate, whose inverse bounds the pull.
            keep: what is left of the precision so far.
        """
        merged = trees.add(precision, trees.follow(self.precision, params), alpha=keep)
        self.hold(merged, params, rate)

    def join(self, precision: Tree, params: Tree, rate: float) -> None:
        """One more quadratic, around the parameters as they are: the sum of all, exactly.

        sum_k P_k (theta - theta_k)^2 = P (theta - theta*)^2 + const with P = sum_k P_k and
        theta* = sum_k P_k theta_k / P, whatever the number of terms.
        """
        before, anchor = trees.follow(self.precision, params), trees.follow(self.anchor, params)
        merged = trees.add(precision, before)
        middle = {
            name: _between(anchor[name], p, precision[name], merged[name]) for name, p in params.items()
        }
        self.hold(merged, middle, rate)

    def state(self) -> State:
        """Precision, anchor and the learning rate of the last consolidation."""
        return {"precision": dict(self.precision), "anchor": dict(self.anchor), "rate": self._rate}

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        self.hold(state["precision"], state["anchor"], float(state["rate"]))


def _known(parameter: Tensor, anchor: Tensor) -> Tensor:
    """The rows of a parameter that the anchor knows."""
    return parameter if parameter.shape == anchor.shape else parameter[: len(anchor)]


def _between(anchor: Tensor, now: Tensor, added: Tensor, merged: Tensor) -> Tensor:
    """anchor moved towards `now` by the share that was added; `now` itself where nothing pulls."""
    share = torch.where(merged > 0, added / merged, torch.ones_like(merged))
    return torch.lerp(anchor, now.detach(), share)
