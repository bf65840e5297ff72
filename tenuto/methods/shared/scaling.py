"""Dynamic loss scaling: gradients too small for a half-precision base are carried through it enlarged.

    g = backward(s L) / s,   s halved where that overflows, doubled after `PATIENCE` steps where it did not

(Micikevicius et al. 2018). The loss and the adapters are float32: it is multiplied in before the gradient
enters the base, and divided out where it has left it. An overflow is no step: the gradient is found anew at
half the scale within the same one. The invariant: s is a power of two, so that what neither over- nor
underflows is the same bit for bit; it is a buffer of the model, saved and refused with it. Looks ahead, walks
(mer) and importances find their gradients otherwise, unscaled.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from msgspec.structs import replace
from torch import Tensor
from torch.nn import Module

from tenuto import trees
from tenuto.types import Estimate

PATIENCE = 200
"""Steps without an overflow after which the scale is doubled."""
LARGEST = 2.0**24
"""No scale grows beyond this."""


def scaled(module: Module, estimate: Callable[[float], Estimate]) -> Estimate:
    """An estimate under the module's scale, which follows it; one without a scale is estimated as it is.

    Args:
        estimate: makes one whose gradients are multiplied with so much.

    >>> found = scaled(Module(), lambda by: Estimate(torch.ones(1), torch.ones(1), {"w": by * torch.ones(1)}))
    >>> found.grads
    {'w': tensor([1.])}
    """
    scale: Tensor | None = getattr(module, "loss_scale", None)
    if scale is None:
        return estimate(1.0)
    by = float(scale[0])
    found = estimate(by)
    while not (fits := _finite(found)) and by > 1.0 and bool(found.loss.isfinite()):
        by /= 2
        found = estimate(by)
    since = float(scale[1]) + 1 if by == float(scale[0]) else 0.0
    if fits and since >= PATIENCE:
        scale.copy_(torch.tensor([min(2 * by, LARGEST), 0.0]))
    else:
        scale.copy_(torch.tensor([by, since]))
    return replace(found, grads=trees.scale(found.grads, 1 / by))


def _finite(found: Estimate) -> bool:
    return all(bool(one.isfinite().all()) for one in found.grads.values())
