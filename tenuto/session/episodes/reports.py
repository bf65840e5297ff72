"""What an episode tells: its eight steps, what was measured around it, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from tenuto.evaluation.episodes import lost


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One of the eight steps.

    Args:
        name: collect, assess, replay, importance, train, remember, evaluate or candidate.
        told: what it did, in words.
        seconds: how long it took.
    """

    name: str
    told: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """What a language model holds at a moment; None where there was nothing to measure.

    Args:
        retention: the share of the anchors' tokens that are answered as the base answered them first.
        accumulation: the share of the approved corrections asked that are answered right, token by token up
            to the end.
        perplexity: of the approved answers, per token.
        right, wrong: the seqs of the corrections that were asked.
    """

    retention: float | None = None
    accumulation: float | None = None
    perplexity: float | None = None
    right: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """From plain data."""
        return cls(**{**plain, "right": tuple(plain["right"]), "wrong": tuple(plain["wrong"])})

    def to_plain(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "right": list(self.right), "wrong": list(self.wrong)}

    def forgotten(self, after: Measures) -> float | None:
        """The share of what was right here and is not any more, of anchors or of corrections, the larger.

        >>> before = Measures(retention=0.9, right=(1, 2))
        >>> after = Measures(retention=0.8, right=(1,), wrong=(2,))
        >>> round(before.forgotten(after), 6)
        0.5
        """
        found = []
        if self.retention is not None and after.retention is not None:
            found.append(max(self.retention - after.retention, 0.0))
        still, asked = set(after.right), {*after.right, *after.wrong}
        again = [seq in still for seq in self.right if seq in asked]
        gone = lost([True] * len(again), again)
        if gone is not None:
            found.append(gone)
        return max(found, default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeReport:
    """What an episode did.

    Args:
        number: which one of the home; 0 where there was nothing to learn, and so none.
        cause, found: why it began.
        stages: its steps, in order.
        learned: rows that became part of the model.
        held: rows that a person is to judge.
        waiting: rows that wait for the next one.
        stopped: why it ended before all rows were learned; empty where they were.
        before, after: what was measured.
        forgetting: what was forgotten of it; None: not measured.
        drift: how far the adapter's weights moved, |after - before| / |before|.
        candidate: the name of the snapshot that holds what came of it.
        seconds: it took.
        memory_bytes: that it took at its peak, beyond what the process held before.
    """

    number: int
    cause: str
    found: str
    stages: tuple[Stage, ...]
    learned: int = 0
    held: int = 0
    waiting: int = 0
    stopped: str = ""
    before: Measures = field(default_factory=Measures)
    after: Measures = field(default_factory=Measures)
    forgetting: float | None = None
    drift: float | None = None
    candidate: str | None = None
    seconds: float = 0.0
    memory_bytes: int = 0

    def to_plain(self) -> dict[str, Any]:
        """As plain data."""
        plain = asdict(self)
        return {**plain, "before": self.before.to_plain(), "after": self.after.to_plain()}
