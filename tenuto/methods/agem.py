"""A-GEM (Chaudhry et al. 2019): no step may raise the loss on a draw from memory, to first order.

    u <- u - r max(0, <u, r>) / <r, r>,    r = the gradient on rows drawn from memory

u is the move proposed by the optimizer, so that the promise <u, r> <= 0 holds under momentum, Adam and
weight decay too: a projected gradient no longer keeps it once an optimizer has preconditioned it.
Memory is a reservoir over the whole stream. The draw is of earlier contexts alone, as in the paper, as soon
as one has ended; until then, or where none ever ends, of all that is remembered.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tenuto.config import Limits
from tenuto.methods.shared.recipe import Recipe
from tenuto.protocols import Oracle, View
from tenuto.trees import leaves, like
from tenuto.types import State, Trace, Update


class Reference:
    """Takes from an update what opposes the gradient on `rows` remembered rows."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def project(self, update: Update, oracle: Oracle) -> Update:
        """The nearest update that does not raise the loss on the draw, to first order."""
        batch = oracle.recall(self._rows, "reference", past=True)
        if batch is None:
            return update
        reference = leaves(oracle.gradient_on(batch))
        return decided(update, reference) if batch.inputs.device.type == "cpu" else clamped(update, reference)

    def observe(self, trace: Trace) -> None:
        """Nothing to note."""

    def consolidate(self, view: View) -> None:
        """Contexts mean nothing to it."""

    def state(self) -> State:
        """None: all it needs is in memory."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to take."""


def decided(update: Update, reference: list[Tensor]) -> Update:
    """The projection where a number is read at no cost: nothing is done to an update that opposes nothing."""
    along = float(_dot(leaves(update.tree), reference))
    if along * update.scale <= 0.0:
        return update
    excess = along / float(_dot(reference, reference))
    projected = torch._foreach_add(leaves(update.tree), reference, alpha=-excess)
    return Update(like(update.tree, projected), update.scale, update.linear)


def clamped(update: Update, reference: list[Tensor]) -> Update:
    """The same where reading would wait for the device; the reference's tensors are used up."""
    along = _dot(leaves(update.tree), reference)
    squared = _dot(reference, reference)
    excess = torch.where(along * update.scale <= 0.0, torch.zeros_like(along), along / squared)
    torch._foreach_mul_(reference, excess)
    return Update(
        like(update.tree, torch._foreach_sub(leaves(update.tree), reference)), update.scale, update.linear
    )


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """The inner product of two lists of tensors; no product of theirs is written out."""
    return torch.stack([torch.dot(x.reshape(-1), y.reshape(-1)) for x, y in zip(a, b, strict=True)]).sum()


def recipe(rows: Annotated[int, Limits(low=1, high=65536, usual=(10, 256), unit="rows")] = 64) -> Recipe:
    """A-GEM.

    Args:
        rows: drawn from memory at each step for the gradient that the update must not oppose.

    >>> recipe().remembers, recipe().replay
    (True, ())
    """
    return Recipe(name="agem", rules=(Reference(rows),), remembers=True, grouping="context")
