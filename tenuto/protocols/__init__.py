"""The protocols that parts meet in, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from msgspec import Struct

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from tenuto.protocols.adapters import Adapter
    from tenuto.reports import ConsolidationReport, DriftReport, Reason
    from tenuto.types import (
        Batch,
        Estimate,
        Label,
        OnlineExample,
        Prediction,
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
    def learn_batch(self, batch: Batch) -> Trace:
        """Learn n rows; ExampleError where one cannot be learned, with nothing changed."""

    def predict(self, inputs: Any) -> Prediction:
        """Answers for rows (n, *shape); nothing changes. NothingLearned before the first row."""

    def consolidate(self) -> ConsolidationReport: ...
    @property
    def model(self) -> Module: ...
    def save_state(self) -> State: ...
    def load_state(self, state: State) -> None:
        """Become the learner that was saved. Raises StateError, with nothing changed."""


class Stateful(Protocol):
    """Holds state: all that a later step depends on, as plain data and tensors. It loads what it gave."""

    def state(self) -> State: ...
    def load_state(self, state: State) -> None: ...


class Task(Stateful, Protocol):
    """What targets mean; `categorical`: are outputs logits over their last axis?"""

    categorical: bool

    @property
    def classes(self) -> Sequence[Label]: ...

    def unknown(self, targets: Any, columns: int) -> list[Label]:
        """Labels that have no column yet, in row order; the model has `columns`. Raises ExampleError."""

    def grow(self, labels: Sequence[Label]) -> None:
        """Give each label the next column."""

    def shrink(self, count: int) -> None:
        """Take back all but the first `count` labels."""

    def encode(self, targets: Any) -> Tensor | None:
        """Targets (n,) or (n, k) as the loss takes them; None where a label is unknown."""

    def groups(self, targets: Tensor) -> Tensor:
        """What balanced memories balance over: (n,) int64."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss (n,) of each row, in nats under classification; `loss` is their mean."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor: ...
    def right(self, outputs: Tensor, targets: Tensor) -> list[bool] | None:
        """Which of n rows were answered right; None where that has no meaning."""

    def answer(self, outputs: Tensor) -> Prediction:
        """Outputs (n, c) as answers."""


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
    """The loss of a batch at given parameters: (the scalar, the outputs (n, c)); `outputs` come in training
    mode, `loss` is the scalar of a batch that was answered so. `head` names the module's Linear layer that
    answers, if it has one; `adapter` is what learns, as blocks; `seed` keys draws."""

    task: Task
    module: Module
    head: str | None
    adapter: Adapter | None
    seed: int

    @property
    def learning_rate(self) -> float:
        """The optimizer's, for estimators that look a step ahead."""

    def __call__(self, params: Tree, batch: Batch) -> tuple[Tensor, Tensor]: ...
    def outputs(self, params: Tree, inputs: Tensor) -> Tensor: ...
    def loss(self, batch: Batch, outputs: Tensor) -> Tensor: ...


class GradientEstimator(Protocol):
    """Turns a batch into an estimate of the gradient. One with a state of its own is a `Part` too."""

    def __call__(self, objective: Objective, params: Tree, batch: Batch) -> Estimate: ...


@dataclass(frozen=True, slots=True)
class View:
    """What a part may look at when the learner consolidates: `context`, the rows of the one that ends as the
    module reads them, or None; `seed` and `number` (of consolidations before this one) key random draws."""

    module: Module
    params: Tree
    objective: Objective
    task: Task
    context: Batch | None = None
    seed: int = 0
    number: int = 0


@runtime_checkable
class Part(Stateful, Protocol):
    """Anything with a place in the step."""

    def consolidate(self, view: View) -> None: ...
    def observe(self, trace: Trace) -> None:
        """Note a step that was committed; gradient and update are still in the trace."""


class Penalty(Part, Protocol):
    """Adds a closed-form gradient."""

    def penalty_gradient(self, params: Tree, onto: Tree | None = None) -> Tree | None:
        """Its gradient, added to `onto` (which stays as it is) where given, in new tensors; or None."""


class Oracle(Protocol):
    """Rows and gradients on request, for rules that compare. Asking changes nothing."""

    @property
    def group(self) -> int:
        """The number of the present context."""

    def gradient_on(self, batch: Batch) -> Tree:
        """The gradient of the objective on a batch, at the parameters of this step."""

    def recall(self, n: int, draw: str, *, past: bool = False) -> Batch | None:
        """At most n rows from memory, under the draws of this step; None where there are none. With `past`,
        of earlier contexts alone as soon as one has ended, drawn with replacement."""

    def groups(self) -> dict[int, Batch]:
        """All remembered rows by group, as the recipe groups them."""


class UpdateRule(Part, Protocol):
    """Projects the proposed update."""

    def project(self, update: Update, oracle: Oracle) -> Update:
        """The update that may go on to the guard."""


class Teacher(Part, Protocol):
    """An earlier self that the learner is distilled from."""

    def outputs(self, module: Module, inputs: Tensor) -> Tensor | None:
        """Its outputs (n, c) for the joined rows; None while there is none."""


class Optimizer(Stateful, Protocol):
    """Proposes without touching the parameters; commits what was kept."""

    learning_rate: float

    def propose(self, params: Tree, grads: Tree) -> Update:
        """The move for these gradients; nothing changes yet."""

    def commit(self, params: Tree, update: Update) -> None:
        """Move the parameters in place, and keep what the last proposal computed."""

    def resize(self, params: Tree) -> None:
        """Follow parameters whose rows were added or taken back."""

    def reset(self) -> None:
        """Forget the steps made, but not the rate."""


class Incoming(Struct, frozen=True, eq=False):
    """Rows that ask for a place in memory, from number `first` of the stream on; groups (n,) int64.

    Where `needs` names them: "gradients", `alike` gives cosines (n, k) of theirs with those in slots (k,);
    "fresh losses", `losses` (n,); "inputs", `inputs` (n, d), and `stored` those (k, d) in slots (k,)."""

    first: int
    groups: Tensor
    alike: Callable[[Tensor], Tensor] | None = None
    losses: Tensor | None = None
    inputs: Tensor | None = None
    stored: Callable[[Tensor], Tensor] | None = None


class Left(Struct, frozen=True, eq=False):
    """What is left when rows were evicted: slot i holds what lay in stay[i], and there is room for `capacity`
    rows from now on; `seen` were offered before; `stored` gives the inputs (k, d) now in slots (k,)."""

    stay: list[int]
    capacity: int | None
    seen: int
    stored: Callable[[Tensor], Tensor]


class Pool(Struct, frozen=True, eq=False):
    """The first `count` slots; `groups` may be longer, and `domains`, -1 where a row names none, which are
    given where `needs` names them; `stored` gives the inputs (k, d) of slots (k,)."""

    count: int
    groups: Tensor
    stored: Callable[[Tensor], Tensor] | None = None
    domains: Tensor | None = None


class InsertionPolicy(Stateful, Protocol):
    """Answers each incoming row with a slot, or -1 where it is not kept; while there is room all are kept."""

    needs: frozenset[str]

    def slots(self, incoming: Incoming) -> list[int]:
        """A slot for each row in order, or -1; later rows may take the slots of earlier ones."""

    def evicted(self, left: Left) -> None:
        """Rows left, for a reason that is not the policy's, and others moved into their slots."""


class SamplingPolicy(Stateful, Protocol):
    """Chooses slots to replay, and their importance weights where the draw is not uniform."""

    needs: frozenset[str]

    def rows(self, n: int, pool: Pool, step: int, draw: str) -> tuple[Tensor, Tensor | None]:
        """n slots (n,) int64 under the draws of (step, draw), and weights (n,) or None."""

    def added(self, slots: list[int]) -> None:
        """These slots hold new rows."""

    def evicted(self, left: Left) -> None: ...
    def seen(self, slots: Tensor, losses: Tensor) -> None:
        """The newest "losses" (k,) of replayed slots (k,), or what else `needs` names of them."""


class Guard(Stateful, Protocol):
    """May this update be kept? What it notes of a step is part of its state; it draws nothing."""

    def judge(self, trace: Trace) -> Verdict:
        """Keep the update or reject it, with the reason; nothing has changed yet."""


class DriftDetector(Stateful, Protocol):
    """Has the stream moved? `reads` is "errors" (0 and 1), "numbers" or "vectors"."""

    reads: str

    def update(self, value: float | Tensor) -> DriftReport | None:
        """Take the next value; a report where it shows a drift. Raises ExampleError, with nothing changed."""


class Scheduler(Stateful, Protocol):
    """Says when to rest. It is told rows, reports and the time in seconds, and reads no clock."""

    def seen(self, rows: int, now: float) -> None: ...
    def drifted(self, report: DriftReport) -> None: ...
    def rested(self, now: float) -> None: ...
    def due(self, now: float) -> Reason | None:
        """Why a rest is due, or None; it stays due until `rested`."""
