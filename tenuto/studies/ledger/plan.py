"""What is to be learned, as far as memory depends on it, and one term of the sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Place = Literal["device", "host"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """An update of `ogp_lora`, and what it keeps, all at their bounds.

    Args:
        tokens: of a row, T.
        rows: of an update, replayed ones included.
        answer: of a row's tokens that are learned, whose logits are there; None: three in eight.
        rank: r, of the block that learns.
        frozen: the rank that frozen blocks may reach together, R.
        targets: layers to adapt; None: queries and values.
        layers: blocks to adapt, counted from 0; None: all.
        middle: adapt as a home by name is: where a base has them, the feed-forward outputs of middle blocks.
        directions: columns of a site's basis, m.
        sketched: tokens of each update that are sketched.
        memory: rows of the replay ring.
        length: tokens of a row in it; None: as many as `tokens`.
        precision: of the frozen base.
        checkpointing: of each block keep its input alone?
        fused: is attention one kernel, as on an accelerator, and on a CPU in float32?
        streamed: do bases lie in host memory, and come to the device one at a time?
        experts, active: adapters of each layer, and those that answer a row.

    >>> Plan().answered
    192
    """

    tokens: int = 512
    rows: int = 1
    answer: int | None = None
    rank: int = 8
    frozen: int = 64
    targets: Sequence[str] | None = None
    layers: Sequence[int] | None = None
    middle: bool = False
    directions: int = 256
    sketched: int = 16
    memory: int = 4096
    length: int | None = None
    precision: str = "float32"
    checkpointing: bool = False
    fused: bool = True
    streamed: bool = False
    experts: int = 1
    active: int = 1

    @property
    def answered(self) -> int:
        """Tokens of a row whose logits are there."""
        return max(self.tokens * 3 // 8, 1) if self.answer is None else self.answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """A summand.

    Args:
        name: what it is.
        bytes: its size.
        place: where it lies.
    """

    name: str
    bytes: int
    place: Place = "device"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """The sum.

    Args:
        terms: the summands; not all are there at once.
        weights: bytes of the frozen base, which are in none.
    """

    terms: tuple[Term, ...]
    weights: int

    def total(self, place: Place) -> int:
        """Bytes that lie in one place."""
        return sum(term.bytes for term in self.terms if term.place == place)
