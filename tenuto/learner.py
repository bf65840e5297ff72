"""The learner: one step, in a fixed order of named lines.

Its state is a deterministic function of the initial state and the batches after it: every random
draw is keyed by (seed, purpose, counter), so a saved state resumes bit for bit on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from msgspec.structs import replace

from tenuto import models
from tenuto.admission import admit, check_rows, restart
from tenuto.assembled import Assembled
from tenuto.consolidation import crosses, warmed
from tenuto.errors import OutOfMemory
from tenuto.eviction import expelled, named, spared, spread, told
from tenuto.models.inputs import stack
from tenuto.protocols import Objective
from tenuto.randomness import torch_draws
from tenuto.recall import check_room, join, keep
from tenuto.reports import ConsolidationReport
from tenuto.types import KEEP, Batch, Estimate, OnlineExample, Trace


class Learner(Assembled):
    """Learns one batch at a time, keeps what it knew, answers at any moment.

    Args:
        model: any module; None: a multilayer perceptron made for the first row's shape.
        config: settings; None: the defaults.
        method: a method's name, or a recipe.
        options: options of a named method.
        optimizer: makes any torch optimizer from a list of parameters; None: the config's.

    >>> from tenuto import OnlineLearnerConfig
    >>> learner = Learner(config=OnlineLearnerConfig(seed=1, learning_rate=0.1))
    >>> for i in range(40):
    ...     _ = learner.learn_one(OnlineExample(input=[i % 2, 1.0], target="odd" if i % 2 else "even"))
    >>> learner.predict([[0.0, 1.0], [1.0, 1.0]]).labels
    ['even', 'odd']
    """

    def learn_one(self, example: OnlineExample) -> Trace:
        """Learn one row: a batch of one."""
        return self.learn_batch(stack([example]))

    def learn_batch(self, batch: Batch, *, pace: float = 1.0) -> Trace:
        """Learn n rows in one joined update (or `passes` of them, until one is refused, or they are known).

        The trace is that of the first pass, so that its outputs are those of a model yet to learn the rows.
        Where the first update is refused, nothing but the count of refused rows has changed; where a guard
        evicts some rows, the others are learned without them.

        Args:
            pace: the share of each update that is made, as a schedule of the learning rate has it.

        Raises:
            ExampleError: a row's shape, values or label cannot be learned; nothing has changed.
            OutOfMemory: the first update does not fit, even read row by row; nothing has changed.
        """
        self._pace = pace
        try:
            return self._learn(batch)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"there is no room for this update: {error}") from error
        finally:
            self._pace = 1.0

    def _learn(self, batch: Batch) -> Trace:
        undo: list[Callable[[], None]] = []
        rows = check_rows(batch, self._shape)
        try:
            self._turn(batch, undo)
            fresh = self._admit(rows, batch.domains, undo)
            check_room(self.memory, self.recipe, fresh, self.body)
            fresh, trace, left, guilty = spared(lambda rows: self._step(self._recall(rows)), fresh)
            if trace.verdict.keeps:
                undo.clear()
        finally:
            for take_back in reversed(undo):
                take_back()
        if not trace.verdict.keeps:
            self.counters.refused += len(rows)
            return told(trace, self.memory, expelled(self.memory, self.context, guilty, None)[1])
        last, passes = trace, self.watch.passes(self.config.passes)
        while passes > 1 and not self._knows(last, len(fresh)):
            try:
                again, passes = self._step(self._recall(fresh, again=True)), passes - 1
            except (OutOfMemory, torch.OutOfMemoryError):
                break
            guilty += again.verdict.principals
            if not again.verdict.keeps:
                break
            last = again
        domains = None if batch.domains is None else [batch.domains[row] for row in left]
        self.counters.refused += len(rows) - len(left)
        self.counters.learned(len(left), domains, trace.estimate.loss)
        names = named(self.memory, self.guard, fresh, domains)
        self.context.note(fresh, domains, names)
        if self.adapters is not None:
            self.adapters.note(fresh, self.task)
        slots, number = None, self.counters.consolidations
        if self.memory is not None:
            slots = keep(self.memory, self.recipe, self._objective, self.body, fresh, last, number, names)
            slots = spread(slots, left, len(rows))
        slots, evicted = expelled(self.memory, self.context, guilty, slots)
        due = crosses(self.config.consolidate_every, self.counters.examples - len(left), len(left))
        if drifts := self.watch.see(trace, len(fresh), self.task):
            slots = self._answer(slots, closes=not due)
        if due:
            self.consolidate()
        return told(trace.handed(slots, drifts, left), self.memory, evicted)

    def _knows(self, trace: Trace, rows: int) -> bool:
        """Was the loss of the first `rows` rows so low before this update that no other pass is needed?"""
        outputs, targets = trace.estimate.outputs[:rows], trace.batch.targets[:rows]
        enough = self.config.stop_loss
        return enough is not None and float(self.task.losses(outputs, targets).mean()) < enough

    def _answer(self, slots: list[int] | None, *, closes: bool) -> list[int] | None:
        """Do what a drift calls for; the slots of the rows that were just learned, as they are then."""
        if closes and self.watch.answers("consolidate"):
            self.context.close(self.body, self._objective, self.counters)
        if slots is None or self.memory is None or not self.watch.answers("renew"):
            return slots
        self.memory.clear()
        return [-1] * len(slots)

    def _turn(self, batch: Batch, undo: list[Callable[[], None]]) -> None:
        """Close the context where the rows open another one; `undo` gains what takes that back."""
        if self.config.boundaries == "domain" and self.context.turns(batch.domains):
            undo.append(self._unwind())
            self.context.close(self.body, self._objective, self.counters)

    def _admit(
        self, rows: Batch, domains: Sequence[str | None] | None, undo: list[Callable[[], None]]
    ) -> Batch:
        """The rows as they may be learned; `undo` gains what takes back all that was made for them."""
        if self._shape is None:
            undo.append(partial(self._unsettle, self._body, self.task))
            self._settle(rows)
        if self.adapters is not None:
            self.adapters.open(domains, undo)
        kept = (self.context if self.memory is None else self.memory).dtype
        seed, fixed = self.config.seed, self.config.head == "fixed"
        return admit(rows, self.body, self.task, self.optimizer, undo, seed=seed, fixed=fixed, kept=kept)

    def _recall(self, fresh: Batch, *, again: bool = False) -> Batch:
        """The fresh rows, and behind them what the method recalls, as the model reads them.

        Args:
            again: was there an update of these rows before?
        """
        counters, joined = self.counters, fresh
        if self.memory is not None:
            ratio = self.watch.replay_ratio(self.config.replay_ratio)
            seed, past, step = self.config.seed, counters.examples, counters.steps
            keyed = {"examples": past, "step": step, "seed": seed}
            joined = join(fresh, self.memory, self.recipe, ratio=ratio, again=again, **keyed)
        inputs = self.body.read(joined.inputs)
        return Batch(inputs, joined.targets, joined.weights, None, joined.draws, fresh.principals)

    def _step(self, batch: Batch, objective: Objective | None = None) -> Trace:
        body, recipe = self.body, self.recipe
        body.attend(batch.inputs)
        params, buffers = body.params, body.buffers()
        try:
            estimate = self._estimate(body, batch, objective or self._objective)
            with torch.set_grad_enabled(False):
                grads, batch = estimate.grads, estimate.batch or batch
                for penalty in recipe.penalties:
                    grads = penalty.penalty_gradient(params, grads) or grads
                update = self.optimizer.propose(params, grads)
                if (pace := self._pace * warmed(self.counters.steps, self.config.warmup)) != 1.0:
                    update = replace(update, scale=update.scale * pace)
                for rule in recipe.rules:
                    update = rule.project(update, self.oracle)
                trace = Trace(self.counters.steps, batch, estimate, update, params=params)
                if (verdict := self.guard.judge(trace)) is not KEEP:
                    trace = trace.judged(verdict)
        except BaseException:
            body.restore(buffers)
            raise
        with torch.set_grad_enabled(False):
            if not verdict.keeps:
                body.restore(buffers)
                return trace.handed(None)
            self.optimizer.commit(params, trace.update)
            for part in self.context.parts.values():
                part.observe(trace)
        self.counters.steps += 1
        self.counters.replayed += batch.replayed
        return trace

    def _estimate(self, body: models.Body, batch: Batch, objective: Objective) -> Estimate:
        """Loss, outputs and gradient; what the model draws at random is keyed by the step."""
        if not (body.stochastic or self._looks):
            return self.recipe.estimator(objective, body.params, batch)
        draws = torch_draws(self.config.seed, "forward", self.counters.steps)
        with draws, models.sites(body.module, self._looks) as sites:
            estimate = self.recipe.estimator(objective, body.params, batch)
        if self._looks and estimate.parts > 1:
            raise OutOfMemory(
                f"the update on {len(batch)} rows does not fit into memory, and guard {self.config.guard!r} "
                "reads the whole batch inside the model: learn fewer rows at once, or take another guard"
            )
        return replace(estimate, sites=sites)

    def consolidate(self) -> ConsolidationReport:
        """Rehearse memory where the method says so, sleep where the settings do, and close the context."""
        if self.recipe.restart and self.memory:
            restart(self.body, self._origin, self.task, self.optimizer, self.config.seed)
        return self.sleep.carry_out(self.body, self._objective, self.optimizer, self._step)
