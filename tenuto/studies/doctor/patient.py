"""What the doctor is shown: a learner, its newest rows, and how its steps went."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import torch
from torch import Tensor, nn

from tenuto import trees
from tenuto.learner import Learner
from tenuto.randomness import torch_draws
from tenuto.session import recovery
from tenuto.store import survey
from tenuto.store.cursor import Cursor
from tenuto.store.home import Home
from tenuto.streams.encoding import collate
from tenuto.trees import Tree
from tenuto.types import Batch, Ruling

RECENT = 256
"""Newest rows looked at."""

_REFUSALS = tuple(ruling.value for ruling in Ruling if ruling is not Ruling.KEEP)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong.

    Args:
        name: of the finding, as `never_consolidated`.
        severity: "critical" where nothing useful can come of going on, else "warning".
        says: what is wrong, in one sentence.
        evidence: the figures it rests on.
        remedy: what to do about it.
    """

    name: str
    severity: str
    says: str
    evidence: dict[str, float | int | str] = field(default_factory=dict)
    remedy: str


@dataclass(frozen=True)
class Patient:
    """A learner and what is known of its past.

    Args:
        learner: looked at, never changed.
        recent: newest rows (n, *shape) with their labels; None: not known.
        losses: the mean loss of each step, oldest first, in nats under classification.
        refused: updates that the guard refused, in the same steps.
        used: bytes on disk by kind; empty where there is no home.
        retention: is a retention of the journal set?

    >>> Patient(Learner()).rows is None
    True
    """

    learner: Learner
    recent: Batch | None = None
    losses: Sequence[float] = ()
    refused: int = 0
    used: dict[str, int] = field(default_factory=dict)
    retention: bool = False

    @classmethod
    def of_home(cls, home: Home, make: Callable[[], Learner]) -> Self:
        """The learner of a home where its ledger stands, the newest rows it learned, its newest steps."""
        fold, _ = recovery.recover(home, make)
        steps = home.ledger.steps(after=max(0, fold.k - 2000), limit=2000)
        settings = home.config["settings"]
        return cls(
            learner=fold.learner,
            recent=_newest(home, fold.cursor, numbers=fold.learner.config.task != "classification"),
            losses=[step.loss for step in steps if step.loss is not None],
            refused=sum(step.verdict.startswith(_REFUSALS) and not step.rows for step in steps),
            used=survey.disk(home.path),
            retention=any(
                settings.get(name) is not None for name in ("journal_max_age", "journal_max_bytes")
            ),
        )

    @cached_property
    def rows(self) -> Batch | None:
        """The recent rows whose labels the learner knows, as the module reads them."""
        learner = self.learner
        if self.recent is None or learner.shape is None:
            return None
        labels, encode = self.recent.targets, learner.task.encode
        known = [i for i in range(len(self.recent)) if encode(labels[i : i + 1]) is not None]
        targets = encode([labels[i] for i in known]) if known else None
        if targets is None:
            return None
        return Batch(learner.body.read(self.recent.inputs[known]), targets)

    @cached_property
    def remembered(self) -> Batch | None:
        """Everything in memory, as the module reads it; None where there is nothing."""
        memory = self.learner.memory
        if memory is None or not len(memory):
            return None
        slots = torch.arange(min(len(memory), 4 * RECENT))
        columns = memory.table.get(slots)
        return Batch(self.learner.body.read(columns["inputs"]), columns["targets"])

    def losses_on(self, batch: Batch) -> Tensor:
        """The loss (n,) of each row in evaluation mode."""
        return self.learner.task.losses(self.learner.outputs(batch.inputs), batch.targets)

    def ahead(self, batch: Batch, steps: int) -> nn.Module:
        """A copy of the model in evaluation mode, after gradient steps on these rows and no others."""
        model = copy.deepcopy(self.learner.model).eval()
        params: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        for _ in range(steps):
            with torch.enable_grad(), torch_draws(0, "doctor", 0):
                loss = self.learner.task.loss(model(batch.inputs), batch.targets)
                gradient = torch.autograd.grad(loss, params, materialize_grads=True)
            with torch.no_grad():
                torch._foreach_add_(params, gradient, alpha=-self.learner.config.learning_rate)
        return model

    def gradient_on(self, batch: Batch) -> Tree:
        """The gradient of the objective on rows, as the oracle gives it to update rules."""
        return self.learner.oracle.gradient_on(batch)


def norm(tree: Tree) -> float:
    """The Euclidean norm of a tree.

    >>> norm({"w": torch.tensor([3.0, 4.0])})
    5.0
    """
    return float(trees.dot(tree, tree).sqrt())


def _newest(home: Home, cursor: Cursor, *, numbers: bool) -> Batch | None:
    entries = [
        entry
        for entry in home.journal.fetch(list(range(max(1, cursor.seq - RECENT), cursor.seq + 1)))
        if entry.kind == "example" and entry.status == "live"
    ]
    return collate([entry.body or b"" for entry in entries], numbers=numbers) if entries else None
