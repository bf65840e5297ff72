"""The protocols that parts meet in, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from msgspec import Struct

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from tenuto.types import (
        Batch,
        ConsolidationReport,
        Estimate,
        Label,
        OnlineExample,
        Prediction,
        Recalled,
        State,
        Trace,
        Update,
        Verdict,
    )

    Tree = dict[str, Tensor]


@runtime_checkable
class OnlineLearner(Protocol):
    """Learns one row or one batch at a time and answers at any moment."""

    def learn_one(self, example: OnlineExample) -> Trace: ...
    def learn_batch(self, batch: Batch) -> Trace: ...
    def predict(self, inputs: Any) -> Prediction: ...
    def consolidate(self) -> ConsolidationReport: ...
    @property
    def model(self) -> Module: ...
    def save_state(self) -> State: ...
    def load_state(self, state: State) -> None: ...


class Stateful(Protocol):
    """Holds state that is plain data."""

    def state(self) -> State: ...
    def load_state(self, state: State) -> None: ...


class Task(Stateful, Protocol):
    """What targets mean."""

    @property
    def classes(self) -> Sequence[Label]: ...

    def unknown(self, targets: Any) -> list[Label]: ...
    def grow(self, labels: Sequence[Label]) -> None: ...
    def shrink(self, count: int) -> None: ...
    def encode(self, targets: Any) -> Tensor | None: ...
    def groups(self, targets: Tensor) -> Tensor: ...
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor: ...
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor: ...
    def correct(self, outputs: Tensor, targets: Tensor) -> int | None: ...
    def answer(self, outputs: Tensor) -> Prediction: ...


class Forward(Struct, frozen=True, eq=False):
    """One forward pass over a joined batch, as the objective's terms see it."""

    batch: Batch
    outputs: Tensor
    task: Task
    teacher: Tensor | None = None


class Term(Protocol):
    """A summand of the objective; `needs` names what memory must keep for it."""

    needs: frozenset[str]

    def __call__(self, forward: Forward) -> Tensor | None: ...


class Objective(Protocol):
    """The loss of a batch at given parameters."""

    def __call__(self, params: Tree, batch: Batch) -> tuple[Tensor, Tensor]: ...


class GradientEstimator(Protocol):
    """Turns a batch into an estimate of the gradient."""

    def __call__(self, objective: Objective, params: Tree, batch: Batch) -> Estimate: ...


@dataclass(frozen=True, slots=True)
class View:
    """What a part may look at when the learner consolidates."""

    module: Module
    params: Tree
    objective: Objective
    task: Task


class Part(Stateful, Protocol):
    """Anything with a place in the step."""

    def observe(self, trace: Trace) -> None: ...
    def consolidate(self, view: View) -> None: ...


class Penalty(Part, Protocol):
    """Adds a closed-form gradient."""

    def penalty_gradient(self, params: Tree) -> Tree | None: ...


class Oracle(Protocol):
    """Gradients on request, for rules that compare."""

    def gradient_on(self, batch: Batch) -> Tree: ...


class UpdateRule(Part, Protocol):
    """Projects the proposed update."""

    def project(self, update: Update, oracle: Oracle) -> Update: ...


class Teacher(Part, Protocol):
    """An earlier self that the learner is distilled from."""

    def outputs(self, module: Module, inputs: Tensor) -> Tensor | None: ...


class Optimizer(Stateful, Protocol):
    """Proposes without touching the parameters; commits what was kept."""

    learning_rate: float

    def propose(self, params: Tree, grads: Tree) -> Update: ...
    def commit(self, params: Tree, update: Update) -> None: ...
    def resize(self, params: Tree) -> None: ...


class Incoming(Struct, frozen=True, eq=False):
    """Rows that ask for a place in memory.

    Args:
        first: the number in the stream of the first row, from 0; the others follow.
        groups: (n,) int64 class (or other group) code of each row.
    """

    first: int
    groups: Tensor


class Pool(Struct, frozen=True, eq=False):
    """What a sampling policy may choose from: the first `count` slots; `groups` may be longer."""

    count: int
    groups: Tensor


class InsertionPolicy(Stateful, Protocol):
    """Answers each incoming row with a slot, or -1 where it is not kept."""

    def slots(self, incoming: Incoming) -> list[int]: ...


class SamplingPolicy(Stateful, Protocol):
    """Chooses slots to replay, and their importance weights where the draw is not uniform."""

    needs: frozenset[str]

    def rows(self, n: int, pool: Pool, step: int, draw: str) -> tuple[Tensor, Tensor | None]: ...
    def added(self, slots: list[int]) -> None: ...
    def seen(self, slots: Tensor, losses: Tensor) -> None: ...


class Memory(Stateful, Protocol):
    """A bounded record of the past."""

    def __len__(self) -> int: ...
    def add(self, groups: Tensor, rows: Mapping[str, Tensor]) -> list[int]: ...
    def sample(self, n: int, step: int, draw: str) -> Recalled | None: ...
    def groups(self) -> Mapping[int, int]: ...


class Guard(Stateful, Protocol):
    """May this update be kept?"""

    def judge(self, trace: Trace) -> Verdict: ...
