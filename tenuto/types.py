"""The nouns of the house: plain, frozen, and free of torch at import.

Arrays of the field's usual shapes: `n` rows, each of `shape`; `c` outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

type_Label = "int | str"
Label = int | str
Plain = None | bool | int | float | str
"""What a saved state may hold beside tensors, lists and dicts."""
State = dict[str, Any]
"""Nested plain data: str keys; tensors, Plain values, lists and dicts. Never a pickle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineExample:
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


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows side by side.

    Args:
        inputs: (n, *shape), in the source's dtype.
        targets: n labels, or a tensor (n,) or (n, k).
        weights: (n,) row weights, or None for all ones.
        domains: n context names, or None.
        slices: where each named part of a joined batch lies: "fresh" and one per draw.
        stored: per draw, what memory had kept beside the row, as {"der": {"logits": ...}}.
        slots: per draw, the memory slots its rows came from.
    """

    inputs: Tensor
    targets: Any
    weights: Tensor | None = None
    domains: Sequence[str | None] | None = None
    slices: Mapping[str, slice] = field(default_factory=dict)
    stored: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    slots: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    @property
    def fresh(self) -> slice:
        """Where the rows that are new to the learner lie."""
        return self.slices.get("fresh", slice(0, len(self)))
