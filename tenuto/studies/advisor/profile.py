"""What is known of a stream and of what learning it may cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tenuto.types import OnlineExample

BLOCKS = 0.5
"""Neighbours share their label this much more often than chance would have it: classes come in blocks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """A stream and a budget.

    Args:
        adapters: are only adapters of a language model trained?
        quick: must it adapt within a few rows of something new?
        drifting: does the world change without anyone saying when?
        contexts: how many contexts there will be; None: not known.
        boundaries: does something (a domain, a call) say where a context ends?
        remembers: may rows be kept?
        memory: rows that may be kept.
        rows: rows the stream will have; None: not known.
        cost: how much dearer than plain fine-tuning a step may be.
        regression: are targets numbers?
        blocks: do classes arrive in blocks?

    >>> Profile(contexts=3).remembers
    True
    """

    adapters: bool = False
    quick: bool = False
    drifting: bool = False
    contexts: int | None = None
    boundaries: bool = False
    remembers: bool = True
    memory: int = 500
    rows: int | None = None
    cost: float = 3.0
    regression: bool = False
    blocks: bool = False

    def seen(self, head: Sequence[OnlineExample]) -> Profile:
        """The profile with what the first rows of the stream show: domains, kinds of targets, blocks.

        >>> rows = [OnlineExample(input=[0.0], target=i // 50, domain=f"d{i // 50}") for i in range(100)]
        >>> seen = Profile().seen(rows)
        >>> seen.boundaries, seen.contexts, seen.blocks
        (True, 2, True)
        """
        targets = [row.target for row in head]
        domains = {row.domain for row in head if row.domain is not None}
        numbers = any(not isinstance(target, int | str) for target in targets)
        return replace(
            self,
            boundaries=self.boundaries or len(domains) > 1,
            contexts=self.contexts or len(domains) or None,
            regression=numbers,
            blocks=self.blocks or (not numbers and _blocks(targets)),
        )


def _blocks(targets: Sequence[object]) -> bool:
    """Do neighbours share their label far more often than rows drawn at random would?"""
    if len(targets) < 2:
        return False
    counts = {target: targets.count(target) for target in set(targets)}
    chance = sum((count / len(targets)) ** 2 for count in counts.values())
    same = sum(a == b for a, b in pairwise(targets)) / (len(targets) - 1)
    return chance < 1.0 and (same - chance) / (1 - chance) > BLOCKS
