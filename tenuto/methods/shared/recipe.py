"""What a method is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from tenuto.methods.shared.anchors import Anchors
from tenuto.methods.shared.estimators import plain
from tenuto.methods.shared.protection import Protection
from tenuto.methods.shared.terms import Supervised
from tenuto.protocols import GradientEstimator, Part, Penalty, Teacher, Term, UpdateRule


@dataclass(frozen=True, slots=True)
class Replay:
    """A named draw from memory.

    Args:
        name: the draw's name; two draws of different names are independent.
        ratio: replayed / (fresh + replayed) rows; None: the learner's `replay_ratio`.
        rows: how many rows to draw beside any batch, in place of a ratio.
        every: new rows for each one that is drawn, in place of a ratio: it joins their first update, so that
            neither replayed rows nor further passes over a batch bring on the next.

    >>> Replay("labels", ratio=0.5).name
    'labels'
    """

    name: str = "replay"
    ratio: float | None = None
    rows: int | None = None
    every: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """A new adapter for each context, and a router between them.

    Args:
        most: adapters; with so many the last one goes on learning.
        wrong: share of known rows that the router may take for strangers.
        shrinkage: of the router's covariance towards the identity.
        neighbours: does every learned row stand for itself? Then `wrong` is the share of ordinary rows, the
            anchors', that the router may take for known.

    >>> Growth(most=8, wrong=0.05, shrinkage=0.3).most
    8
    """

    most: int
    wrong: float
    shrinkage: float = 0.3
    neighbours: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The parts of a method, in the order of the step.

    Args:
        name: the method's name.
        terms: summands of the loss.
        estimator: how the gradient is found.
        penalties: closed-form gradients added to it.
        rules: projections of the proposed update, in order.
        replay: draws from memory, joined behind the fresh rows in this order.
        remembers: does it keep a memory even where it draws nothing in the step?
        bounded: is its memory bounded? Joint training's is not.
        insertion, sampling: the method's own memory policies.
        capacity: rows that its memory holds where the settings do not say.
        checkpoint: updates after which a session takes a snapshot, beside those that its settings ask for.
        audit: updates after which it asks to be audited.
        teacher: an earlier self to distil from.
        anchors, anchored: rows held to the first answers, and how many of them join a step.
        rehearsal: passes over memory at each consolidation.
        restart: does the rehearsal begin from the initial weights?
        context: rows of the present context kept for the parts that close it.
        language: can it learn a language model? Not where it keeps whole outputs, or differentiates twice.
        growth: does each context get an adapter of its own?
        protection: what holds what was learned, among the rules; general anchors are its first.
        blocks: the rank its frozen null-space blocks may reach together, for a method that learns low-rank
            adapters and nothing else; 0: it learns any module.
        experts, active: blocks beside each layer, and how many of them answer a row.
        grouping: what memory's groups are: the rows' "target", or the "context" they came in.

    >>> Recipe(name="mine", replay=(Replay(),)).needs
    frozenset()
    """

    name: str
    terms: tuple[Term, ...] = field(default_factory=lambda: (Supervised(),))
    estimator: GradientEstimator = plain
    penalties: tuple[Penalty, ...] = ()
    rules: tuple[UpdateRule, ...] = ()
    replay: tuple[Replay, ...] = ()
    remembers: bool = False
    bounded: bool = True
    insertion: str = "reservoir"
    sampling: str = "uniform"
    capacity: int = 500
    checkpoint: int | None = None
    audit: int | None = None
    teacher: Teacher | None = None
    anchors: Anchors | None = None
    anchored: int = 0
    rehearsal: int = 0
    restart: bool = False
    context: int = 0
    growth: Growth | None = None
    grouping: str = "target"
    language: bool = True
    protection: Protection | None = None
    blocks: int = 0
    experts: int = 1
    active: int = 1

    @cached_property
    def needs(self) -> frozenset[str]:
        """What memory must keep beside a row."""
        return frozenset().union(*(term.needs for term in self.terms))

    def parts(self) -> Iterator[tuple[str, Part]]:
        """Every part that observes and consolidates, with a name for its state."""
        if isinstance(self.estimator, Part):
            yield "estimator", self.estimator
        for i, penalty in enumerate(self.penalties):
            yield f"penalty{i}", penalty
        for i, rule in enumerate(self.rules):
            yield f"rule{i}", rule
        if self.teacher is not None:
            yield "teacher", self.teacher
        if self.anchors is not None:
            yield "anchors", self.anchors
