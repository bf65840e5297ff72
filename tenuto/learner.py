"""The learner: one step, in a fixed order of named lines, and all it needs to be resumed.

Its state is a deterministic function of the initial state and the batches after it: every random
draw is keyed by (seed, purpose, counter), so a saved state resumes bit for bit on a CPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from tenuto import guards, methods, models, optimizers, tasks, trees
from tenuto.admission import admit, check_rows
from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError, ExampleError, NothingLearned, StateError
from tenuto.memory import ReplayBuffer
from tenuto.methods.shared.objective import Composed
from tenuto.models.inputs import stack, tensor
from tenuto.protocols import Task, View
from tenuto.randomness import permutation, torch_draws
from tenuto.types import (
    Batch,
    ConsolidationReport,
    Draw,
    Label,
    OnlineExample,
    OnlineLearnerStats,
    Prediction,
    State,
    Trace,
)

FORMAT = 1
CHANGEABLE = ("learning_rate", "replay_ratio", "passes")
"""Settings that may change while a learner lives; they are part of its state."""


class Learner:
    """Learns one batch at a time, keeps what it knew, answers at any moment.

    Args:
        model: any module; None: a multilayer perceptron made for the first row's shape.
        config: settings; None: the defaults.
        method: a method's name, or a recipe.
        options: options of a named method.
        optimizer: makes any torch optimizer from a list of parameters; None: the config's.

    >>> learner = Learner(config=OnlineLearnerConfig(seed=1, learning_rate=0.1))
    >>> for i in range(40):
    ...     _ = learner.learn_one(OnlineExample(input=[i % 2, 1.0], target="odd" if i % 2 else "even"))
    >>> learner.predict([[0.0, 1.0], [1.0, 1.0]]).labels
    ['even', 'odd']
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        config: OnlineLearnerConfig | None = None,
        *,
        method: str | methods.Recipe = "er",
        options: Mapping[str, Any] | None = None,
        optimizer: optimizers.Factory | None = None,
    ) -> None:
        self.config = config or OnlineLearnerConfig()
        self.recipe = methods.load(method, options) if isinstance(method, str) else method
        self.guard = guards.load(self.config.guard)
        self.optimizer = optimizers.make(self.config, optimizer)
        self.memory = self._make_memory()
        self.steps = self.examples = self.replayed = self.refused = self.consolidations = 0
        self._parts = dict(self.recipe.parts())
        self._domains: Counter[str] = Counter()
        self._loss = RunningLoss()
        self._shape: tuple[int, ...] | None = None
        self.task = tasks.make(self.config)
        self._body: models.Body | None = None
        self._given = model is not None
        if model is not None:
            self._adopt(model)

    # The step ------------------------------------------------------------------------------

    def learn_one(self, example: OnlineExample) -> Trace:
        """Learn one row: a batch of one."""
        return self.learn_batch(stack([example]))

    def learn_batch(self, batch: Batch) -> Trace:
        """Learn n rows in one joined update (or `passes` of them, until one is refused).

        Where the first update is refused, nothing but the count of refused rows has changed.

        Raises:
            ExampleError: a row's shape, values or label cannot be learned; nothing has changed.
        """
        with ExitStack() as undo:
            fresh = self._admit(batch, undo)
            trace = self._step(self._recall(fresh))
            if not trace.verdict.keeps:
                self.refused += len(fresh)
                return trace
            undo.pop_all()
        for _ in range(1, self.config.passes):
            again = self._step(self._recall(fresh))
            if not again.verdict.keeps:
                break
            trace = again
        return self._remember(batch, fresh, trace)

    def _step(self, batch: Batch) -> Trace:
        body, recipe, params = self.body, self.recipe, self.body.params
        buffers = body.buffers()
        try:
            with torch_draws(self.config.seed, "forward", self.steps):
                estimate = recipe.estimator(self._objective, params, batch)
        except BaseException:
            body.restore(buffers)
            raise
        with torch.no_grad():
            grads = trees.add(estimate.grads, *(p.penalty_gradient(params) for p in recipe.penalties))
            update = self.optimizer.propose(params, grads)
            for rule in recipe.rules:
                update = rule.project(update, self)
            trace = Trace(self.steps, batch, estimate, update)
            verdict = self.guard.judge(trace)
            if not verdict.keeps:
                body.restore(buffers)
                return trace.judged(verdict)
            self.optimizer.commit(params, update)
            for part in self._parts.values():
                part.observe(trace)
        self.steps += 1
        self.replayed += batch.replayed
        return trace

    def _recall(self, fresh: Batch) -> Batch:
        """The fresh rows, and behind them each draw the method makes from memory."""
        body, memory, top = self.body, self.memory, len(fresh.inputs)
        if memory is None or not len(memory):
            return Batch(body.read(fresh.inputs), fresh.targets, fresh.weights)
        draws: dict[str, Draw] = {}
        parts = [fresh]
        for replay in self.recipe.replay:
            recalled = memory.sample(self._share(replay, len(fresh.inputs)), self.steps, replay.name)
            if recalled is None:
                continue
            columns, rows = recalled.columns, slice(top, top + len(recalled.slots))
            weights = _product(columns.get("weights"), recalled.weights)
            parts.append(Batch(columns["inputs"], columns["targets"], weights))
            draws[replay.name] = Draw(rows, recalled.slots, columns)
            top = rows.stop
        inputs = torch.cat([part.inputs for part in parts])
        targets = torch.cat([part.targets for part in parts])
        return Batch(body.read(inputs), targets, _joined(parts), None, draws)

    def _share(self, replay: methods.Replay, fresh: int) -> int:
        """How many rows to draw beside the fresh ones: fractions come due as rows add up."""
        ratio = self.config.replay_ratio if replay.ratio is None else replay.ratio
        due = ratio / (1 - ratio)
        return int((self.examples + fresh) * due + 1e-6) - int(self.examples * due + 1e-6)

    def _remember(self, batch: Batch, fresh: Batch, trace: Trace) -> Trace:
        """Note the rows as learned and offer them to memory."""
        n, joined = len(fresh.inputs), trace.batch
        self.examples += n
        if batch.domains is not None:
            self._domains.update(d for d in batch.domains if d is not None)
        self._loss.note(trace.estimate.loss)
        if self.memory is None:
            return trace
        for draw in joined.draws.values() if "losses" in self.memory.needs else ():
            losses = self.task.losses(trace.estimate.outputs[draw.rows], joined.targets[draw.rows])
            self.memory.seen_again(draw.slots, losses)
        kept = {"inputs": fresh.inputs, "targets": fresh.targets}
        if fresh.weights is not None:
            kept["weights"] = fresh.weights
        if "logits" in self.recipe.needs:
            outputs = trace.estimate.outputs[:n]
            kept["logits"], kept["width"] = outputs, torch.full((n,), outputs.shape[1])
        return trace.kept(self.memory.add(self.task.groups(kept["targets"]), kept))

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change settings from the next step on.

        Raises:
            ConfigError: a setting cannot change while a learner lives.
        """
        for name in changes:
            if name not in CHANGEABLE:
                raise ConfigError(f"{name} cannot change in a living learner; {', '.join(CHANGEABLE)} can")
        self.config = self.config.but(changes)
        self.optimizer.learning_rate = self.config.learning_rate

    # Consolidation ---------------------------------------------------------------------------

    def consolidate(self) -> ConsolidationReport:
        """Let every part close its context, then rehearse memory where the method says so."""
        self._ready("consolidate")
        updates = sum(self._rehearse(epoch) for epoch in range(self.recipe.rehearsal))
        view = View(self.body.module, self.body.params, self._objective, self.task)
        for part in self._parts.values():
            part.consolidate(view)
        self.consolidations += 1
        return ConsolidationReport(number=self.consolidations, parts=tuple(self._parts), updates=updates)

    def _rehearse(self, epoch: int) -> int:
        """One pass over memory in a keyed order; the number of updates kept."""
        if self.memory is None or not len(self.memory):
            return 0
        before, count, rows = self.steps, len(self.memory), 2 * self.config.batch_size
        order = permutation(self.config.seed, f"rehearse:{self.consolidations}:{epoch}", count)
        for slots in torch.from_numpy(order).tensor_split(max(1, count // rows)):
            columns = self.memory.table.get(slots)
            weights = columns.get("weights")
            self._step(Batch(self.body.read(columns["inputs"]), columns["targets"], weights))
        return self.steps - before

    # Answers -----------------------------------------------------------------------------------

    @property
    def model(self) -> nn.Module:
        """The module being trained."""
        return self.body.module

    @property
    def body(self) -> models.Body:
        """The module with its parameters by name."""
        if self._body is None:
            raise NothingLearned(
                "there is no model yet: it is made for the first row's shape, so learn a row first"
            )
        return self._body

    def fixed_labels(self) -> frozenset[Label] | None:
        """The only labels it can take, where that is settled before the first row; None: any."""
        if self.config.task != "classification" or self.config.head != "fixed":
            return None
        width = self._body.width or 0 if self._body is not None else 0
        return frozenset(self.config.classes or range(width)) or None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of one row; None before the first."""
        return self._shape

    def outputs(self, inputs: Any) -> Tensor:
        """Raw outputs (n, c) for rows (n, *shape), in evaluation mode; nothing changes."""
        return self.body.infer(self._question(inputs))

    def predict(self, inputs: Any) -> Prediction:
        """Answers for rows (n, *shape), or for one row of that shape; nothing changes."""
        return self.task.answer(self.outputs(inputs))

    def predict_proba(self, inputs: Any) -> Tensor:
        """Class probabilities (n, c); columns are in the order of `predict(...).classes`.

        Raises:
            ConfigError: under regression, which has none.
        """
        answer = self.predict(inputs)
        if answer.probabilities is None:
            raise ConfigError("regression has no class probabilities; use predict")
        return answer.probabilities

    @property
    def stats(self) -> OnlineLearnerStats:
        """Counters so far; reading the running loss waits for the device."""
        return OnlineLearnerStats(
            examples=self.examples,
            steps=self.steps,
            replayed=self.replayed,
            refused=self.refused,
            consolidations=self.consolidations,
            running_loss=self._loss.value,
            remembered=0 if self.memory is None else len(self.memory),
            domains=dict(self._domains),
        )

    # State -------------------------------------------------------------------------------------

    def save_state(self) -> State:
        """A copy of everything the next step depends on, as plain data and tensors."""
        state: State = trees.detach(self._state())
        return state

    def digest(self) -> str:
        """SHA-256 of the state: equal digests, equal learners."""
        return trees.digest(self._state())

    def load_state(self, state: State) -> None:
        """Become the learner that was saved; refused whole where it does not fit.

        Raises:
            StateError: saved by another method, for another model, or by a newer release.
        """
        if state.get("format") != FORMAT or state.get("method") != self.recipe.name:
            raise StateError(
                f"the state is of format {state.get('format')} and method {state.get('method')!r}; "
                f"this learner reads format {FORMAT} and is {self.recipe.name!r}"
            )
        before, body = self.save_state(), self._body
        if odd := sorted(before.keys() ^ state.keys()):
            raise StateError(f"the state lacks, or this learner does not know: {', '.join(odd)}")
        try:
            self._take(state)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            self._body = body if self._body is body else None
            self._take(before)
            raise StateError(f"the state does not fit this learner, which is as it was: {error}") from error

    def _take(self, state: State) -> None:
        shape = None if state["shape"] is None else tuple(state["shape"])
        if not self._given and state["outputs"] is None:
            self._body, self.task = None, tasks.make(self.config)
        elif not self._given and (self._body is None or shape != self._shape):
            self._build(tuple(state["shape"]), outputs=state["outputs"])
        self.configure({name: state["settings"][name] for name in CHANGEABLE})
        self.optimizer.load_state(state["optimizer"])
        if self._body is not None:
            self._body.load_state(state["model"])
            self.optimizer.resize(self._body.params)
        self._shape = shape
        self.task.load_state(state["task"])
        self.guard.load_state(state["guard"])
        if self.memory is not None:
            self.memory.load_state(state["memory"])
        for name, part in self._parts.items():
            part.load_state(state["parts"][name])
        for name in _COUNTERS:
            setattr(self, name, int(state["counters"][name]))
        self._domains = Counter(state["domains"])
        self._loss = RunningLoss(state["running_loss"])

    def _state(self) -> State:
        return {
            "format": FORMAT,
            "method": self.recipe.name,
            "shape": None if self._shape is None else list(self._shape),
            "outputs": None if self._body is None else self._body.width,
            "model": {} if self._body is None else self._body.state(),
            "task": self.task.state(),
            "optimizer": self.optimizer.state(),
            "guard": self.guard.state(),
            "memory": None if self.memory is None else self.memory.state(),
            "parts": {name: part.state() for name, part in self._parts.items()},
            "counters": {name: getattr(self, name) for name in _COUNTERS},
            "settings": {name: getattr(self.config, name) for name in CHANGEABLE},
            "domains": dict(self._domains),
            "running_loss": self._loss.value,
        }

    # Making ------------------------------------------------------------------------------------

    def gradient_on(self, batch: Batch) -> trees.Tree:
        """The gradient of the objective on a batch: the oracle of rules that compare."""
        return self.recipe.estimator(self._objective, self.body.params, batch).grads

    def _admit(self, batch: Batch, undo: ExitStack) -> Batch:
        """The rows as they may be learned; `undo` learns to take back what was made for them."""
        rows = check_rows(batch, self._shape)
        if self._shape is None:
            undo.callback(self._forget_form, self._body, self.task)
            self._shape = tuple(rows.inputs.shape[1:])
        if self._body is None:
            self._build(self._shape, outputs=self._outputs(batch))
        kept, fixed = None if self.memory is None else self.memory.dtype, self.config.head == "fixed"
        return admit(
            rows, self.body, self.task, self.optimizer, undo, seed=self.config.seed, fixed=fixed, kept=kept
        )

    def _forget_form(self, body: models.Body | None, task: Task) -> None:
        self._body, self.task, self._shape = body, task, None

    def _outputs(self, batch: Batch) -> int:
        if self.config.task == "classification":
            return len(self.config.classes or ())
        return tasks.Regression().encode(batch.targets).shape[1]

    def _build(self, shape: tuple[int, ...], outputs: int) -> None:
        with torch_draws(self.config.seed, "model", 0):
            module = models.default(shape, self.config.hidden, outputs)
        self._adopt(module.to(self.config.device))

    def _adopt(self, module: nn.Module) -> None:
        self._body = models.Body(module, self.config.head_layer)
        width, classes = self._body.width, self.config.classes or ()
        if width is not None and len(classes) > width:
            raise ConfigError(
                f"classes lists {len(classes)} labels, but the model answers with {width} outputs: "
                f"give it {len(classes)}, or leave classes out"
            )
        self.task = tasks.make(self.config, width or 0)
        self._objective = Composed(self.recipe, module, self._body.params, self.task)

    def _make_memory(self) -> ReplayBuffer | None:
        if not (self.recipe.replay or self.recipe.rehearsal or self.recipe.remembers):
            return None
        return ReplayBuffer(
            capacity=self.config.memory_size if self.recipe.bounded else None,
            insertion=self.config.insertion or self.recipe.insertion,
            sampling=self.config.sampling or self.recipe.sampling,
            seed=self.config.seed,
        )

    def _question(self, inputs: Any) -> Tensor:
        rows = tensor(inputs)
        if self._shape is not None and rows.shape == self._shape:
            rows = rows.unsqueeze(0)
        if self._shape is not None and rows.shape[1:] != self._shape:
            raise ExampleError(f"rows here are of shape {self._shape}; got {tuple(rows.shape[1:])}")
        return rows

    def _ready(self, what: str) -> None:
        if self._body is None:
            raise NothingLearned(f"there is nothing to {what} yet: learn a row first")


class RunningLoss:
    """The exponential mean of the loss over about 100 steps; losses are read when it is asked for."""

    def __init__(self, value: float | None = None) -> None:
        self._value = value
        self._unread: list[Tensor] = []

    def note(self, loss: Tensor) -> None:
        """Note a step's loss without waiting for the device."""
        self._unread.append(loss)
        if len(self._unread) >= 256:
            self._read()

    @property
    def value(self) -> float | None:
        """The mean in nats; None before the first step."""
        self._read()
        return self._value

    def _read(self) -> None:
        for loss in torch.stack(self._unread).tolist() if self._unread else ():
            self._value = loss if self._value is None else self._value + 0.01 * (loss - self._value)
        self._unread.clear()


_COUNTERS = ("steps", "examples", "replayed", "refused", "consolidations")


def _product(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a * b


def _joined(parts: list[Batch]) -> Tensor | None:
    if all(part.weights is None for part in parts):
        return None
    return torch.cat([torch.ones(len(p)) if p.weights is None else p.weights for p in parts])
