"""The nouns of the house: plain, frozen, and free of torch at import.

Those that every step makes anew are msgspec structs: frozen like the others, ten times cheaper.

Arrays of the field's usual shapes: `n` rows, each of `shape`; `c` outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from tenuto.reports import DriftReport

if TYPE_CHECKING:
    from torch import Tensor

Label = int | str
Plain = None | bool | int | float | str
"""What a saved state may hold beside tensors, lists and dicts."""
State = dict[str, Any]
"""Nested plain data: str keys; tensors, Plain values, lists and dicts. Never a pickle."""


class OnlineExample(Struct, frozen=True, kw_only=True, eq=False):
    """One row of a stream.

    Args:
        input: array-like of one row's shape (a list, an ndarray or a tensor).
        target: an int or str label, a float, or a vector of floats; None when not known yet.
        id: names the row; the same id is learned once. None: `<source>:<offset>`.
        domain: the context it comes from, if known. Never required.
        level: difficulty, for a curriculum.
        weight: multiplies its loss; > 0.
        source: where it came from.
        principal: who sent it.
        derived_from: ids this row was made from; forgetting them forgets it.
        last_loss: its loss when it was last seen, in nats.

    >>> OnlineExample(input=[0.0, 1.0], target="cat").weight
    1.0
    """

    input: Any
    target: Any = None
    id: str | None = None
    domain: str | None = None
    level: float | None = None
    weight: float = 1.0
    source: str | None = None
    principal: str | None = None
    derived_from: tuple[str, ...] = ()
    last_loss: float | None = None


class Draw(Struct, frozen=True, eq=False):
    """One named draw from memory and where it lies in the joined batch.

    Args:
        rows: the slice of the joined batch.
        slots: (k,) int64 memory slots the rows came from.
        kept: what memory kept beside each row, as {"logits": (k, c), "width": (k,)}.
    """

    rows: slice
    slots: Tensor
    kept: Mapping[str, Tensor]


class Batch(Struct, frozen=True, eq=False):
    """Rows side by side.

    Args:
        inputs: (n, *shape), in the source's dtype.
        targets: n labels, or a tensor (n,) or (n, k).
        weights: (n,) row weights, or None for all ones.
        domains, principals: n context names, n senders, or None.
        draws: the replayed parts of a joined batch by name; the fresh rows come first.

    >>> import torch
    >>> batch = Batch(torch.zeros(3, 2), ["cat", "dog", "cat"])
    >>> len(batch), batch.fresh, batch.replayed
    (3, 3, 0)
    """

    inputs: Tensor
    targets: Any
    weights: Tensor | None = None
    domains: Sequence[str | None] | None = None
    draws: dict[str, Draw] = field(default_factory=dict)
    principals: Sequence[str | None] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def fresh(self) -> int:
        """How many rows are new to the learner; they come first."""
        return len(self) - self.replayed

    @property
    def replayed(self) -> int:
        """How many rows came from memory."""
        return sum(draw.rows.stop - draw.rows.start for draw in self.draws.values())


class Recalled(Struct, frozen=True, eq=False):
    """Rows drawn from memory.

    Args:
        columns: inputs, targets and what was kept beside them, k rows each.
        slots: (k,) where they live.
        weights: (k,) the rows' own, times those of a non-uniform draw; None for all ones.
    """

    columns: dict[str, Tensor]
    slots: Tensor
    weights: Tensor | None


class Estimate(Struct, frozen=True, eq=False):
    """What one look at a batch gave.

    Args:
        loss: scalar, in nats for classification.
        outputs: (n, c), of the rows it is over, before the update.
        grads: one gradient per trainable parameter, by name.
        batch: the rows it is over, where an estimator chose among the joined ones; None: all of them.
        sites: how large each row (n,) is behind each layer, where a guard reads that.
        unprotected: what share (n,) of each row's inputs no basis protects, where a method protects any.
        parts: how many parts the rows were read in, for want of memory; 1: all at once.
    """

    loss: Tensor
    outputs: Tensor
    grads: dict[str, Tensor]
    batch: Batch | None = None
    sites: dict[str, Tensor] = field(default_factory=dict)
    unprotected: Tensor | None = None
    parts: int = 1

    def spent(self) -> Estimate:
        """Loss and outputs alone."""
        return Estimate(self.loss, self.outputs, {}, self.batch, parts=self.parts)


class Update(Struct, frozen=True, eq=False):
    """A proposed move: parameters + scale * tree. `scale` spares plain SGD a copy.

    Args:
        linear: is it linear in the gradient, so that whatever is not finite there is not finite here?
    """

    tree: dict[str, Tensor]
    scale: float = 1.0
    linear: bool = False


_SPENT = Update({})


class Ruling(StrEnum):
    """What a guard decides."""

    KEEP = "keep"
    REJECT = "reject"
    ROLLBACK = "rollback"
    FREEZE = "freeze"
    EVICT = "evict"


class Verdict(Struct, frozen=True, eq=False):
    """A guard's decision and its reason.

    Args:
        scale: the share of a kept update that is committed, in (0, 1].
        rows, principals: fresh rows by number, and senders, that it evicts.
        back: of a rollback, how many updates before this one the harm may have begun.

    >>> Verdict(Ruling.REJECT, "the loss of step 3 is nan").keeps
    False
    """

    ruling: Ruling
    reason: str = ""
    scale: float = 1.0
    rows: tuple[int, ...] = ()
    principals: tuple[str, ...] = ()
    back: int = 0

    @property
    def keeps(self) -> bool:
        """May the update be committed?"""
        return self.ruling is Ruling.KEEP


KEEP = Verdict(Ruling.KEEP)


class Trace(Struct, frozen=True, eq=False):
    """What one step did; once handed back, without gradient and update, which are as large as the model.

    Args:
        step: the number of the update, from 0.
        batch: fresh rows first, then each draw.
        estimate: loss, outputs and gradients.
        update: the proposed move, after projection.
        verdict: whether it was committed.
        slots: the memory slot given to each fresh row, or -1; None without a memory.
        drifts: what the watch over the stream found in its fresh rows.
        left: the numbers of the given rows that were learned, first in `batch`; a guard evicted the others.
        whence: where rows left memory but for another in their slot: for each slot, the one in which its row
            lay before the step, -1 for a row of the step; else None.
        evicted: rows of senders convicted in this step that left memory.
        params: the parameters before the update, by name.

    >>> from tenuto import Learner
    >>> trace = Learner().learn_one(OnlineExample(input=[0.0, 1.0], target="cat"))
    >>> trace.step, trace.verdict.keeps, trace.slots
    (0, True, [0])
    """

    step: int
    batch: Batch
    estimate: Estimate
    update: Update
    verdict: Verdict = KEEP
    slots: list[int] | None = None
    drifts: tuple[DriftReport, ...] = ()
    left: Sequence[int] = ()
    whence: list[int] | None = None
    evicted: int = 0
    params: dict[str, Tensor] = field(default_factory=dict)

    def judged(self, verdict: Verdict) -> Trace:
        """The same step with what a guard said of it, its update as small as the guard wants it."""
        update = Update(self.update.tree, self.update.scale * verdict.scale, self.update.linear)
        return Trace(self.step, self.batch, self.estimate, update, verdict)

    def handed(
        self, slots: list[int] | None, drifts: tuple[DriftReport, ...] = (), left: Sequence[int] = ()
    ) -> Trace:
        """The same step as handed back: with memory slots, drifts found, and the rows that were learned."""
        return Trace(self.step, self.batch, self.estimate.spent(), _SPENT, self.verdict, slots, drifts, left)

    @property
    def loss(self) -> float:
        """The step's loss; reading it waits for the device."""
        return float(self.estimate.loss)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Answers to n rows.

    Args:
        labels: n class labels, or n numbers (or vectors) under regression.
        outputs: (n, c) the model's raw outputs.
        probabilities: (n, c) over `classes`, or None under regression.
        classes: the label of each column.

    >>> import torch
    >>> Prediction(["dog"], torch.tensor([[0.0, 1.0]]), classes=("cat", "dog")).labels
    ['dog']
    """

    labels: list[Any]
    outputs: Tensor
    probabilities: Tensor | None = None
    classes: tuple[Label, ...] = ()
