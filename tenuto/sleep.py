"""Sleep: a consolidation carried out as planned, by the learner's own step.

Recent rows are those that memory holds and no sleep has learned yet; of a method without a memory, those of
the context's sample. They are learned again beside replayed ones, under every penalty, rule and guard of the
method, and where asked held to the answers given before. Then the context is closed, every remembered row is
scored as it is answered now, and an uneven memory is levelled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenuto.config import OnlineLearnerConfig
from tenuto.consolidation import Plan, mixed, plan
from tenuto.context import Context
from tenuto.counters import Counters
from tenuto.errors import ConfigError
from tenuto.eviction import taken
from tenuto.memory import ReplayBuffer
from tenuto.methods import Recipe
from tenuto.methods.shared.objective import Composed
from tenuto.methods.shared.teacher import Predecessor
from tenuto.methods.shared.terms import Distillation
from tenuto.models import Body
from tenuto.protocols import Forward, Objective, Optimizer, View
from tenuto.recall import join, rehearsal
from tenuto.reports import ConsolidationReport
from tenuto.types import Batch, Trace

TOGETHER = 512
"""Rows that are scored at once."""
TEMPERATURE = 2.0
"""Of the answers before the sleep, where they hold."""

Step = Callable[[Batch, Objective], Trace]
"""Makes an update of a joined batch, under an objective."""


class Sleep:
    """What a learner does when it consolidates.

    Args:
        recipe, config, memory, context, counters: the learner's own.

    Raises:
        ConfigError: it is to make updates, and the method keeps no row to make them on.
    """

    def __init__(
        self,
        recipe: Recipe,
        config: OnlineLearnerConfig,
        memory: ReplayBuffer | None,
        context: Context,
        counters: Counters,
    ) -> None:
        if config.sleep_updates and memory is None and not context.keeps:
            raise ConfigError(f"method {recipe.name!r} keeps no row to sleep on; leave sleep_updates at 0")
        shared = tuple(dataclasses.replace(draw, ratio=None, every=None) for draw in recipe.replay)
        self._recipe, self._config = dataclasses.replace(recipe, replay=shared), config
        self._memory, self._context, self._counters = memory, context, counters

    def carry_out(
        self, body: Body, objective: Objective, optimizer: Optimizer, step: Step
    ) -> ConsolidationReport:
        """Do what the plan says, in its order."""
        memory, config, counters = self._memory, self._config, self._counters
        before, number = counters.steps, counters.consolidations
        sample = self._context.rows(body) if memory is None and config.sleep_updates else None
        recent = len(memory.recent()) if memory is not None else 0 if sample is None else len(sample)
        made = self._plan(number, recent)
        loss = self._score(body, objective, sample) if made.sleeps else None
        for epoch in range(self._recipe.rehearsal):
            for batch in rehearsal(memory, body, config, number, epoch):
                step(batch, objective)
        if made.updates and made.distil:
            objective = self._anchored(body, objective, optimizer, made.distil)
        for turn, which in enumerate(mixed(made, seed=config.seed, number=number, recent=recent)):
            step(self._joined(body, sample, which, made, turn), objective)
        if made.closes:
            self._context.close(body, objective, counters)
        counters.consolidations = number + 1
        report = ConsolidationReport(
            number=number + 1,
            parts=tuple(self._context.parts) if made.closes else (),
            updates=counters.steps - before,
        )
        if not made.sleeps:
            return report
        after = self._score(body, objective, sample, tell=True)
        scored, spared = 0, 0
        if memory is not None:
            scored, spared = len(memory) if memory.scores else 0, memory.level()
            memory.rested()
        return dataclasses.replace(
            report, recent=recent, scored=scored, spared=spared, loss_before=loss, loss_after=after
        )

    def _plan(self, number: int, recent: int) -> Plan:
        replays = self._memory is not None and bool(self._recipe.replay)
        rehearses = self._recipe.rehearsal > 0
        return plan(self._config, number=number, recent=recent, replays=replays, rehearses=rehearses)

    def _joined(
        self, body: Body, sample: Batch | None, which: NDArray[np.int64], made: Plan, turn: int
    ) -> Batch:
        """Recent rows, and behind them each draw the method makes from memory, as the model reads them."""
        memory = self._memory
        if memory is not None:
            fresh = _stored(memory, memory.recent()[torch.from_numpy(which)])
            step, before = self._counters.steps, turn * made.recent
            joined = join(fresh, memory, self._recipe, ratio=made.ratio, examples=before, step=step)
        elif sample is not None:
            joined = taken(sample, which.tolist())
        return Batch(body.read(joined.inputs), joined.targets, joined.weights, None, joined.draws)

    def _anchored(self, body: Body, objective: Objective, optimizer: Optimizer, weight: float) -> Objective:
        """The method's objective, and beside it the answers as they are now."""
        now = Now(View(body.module, body.params, objective, objective.task), weight)
        recipe = dataclasses.replace(self._recipe, terms=(*self._recipe.terms, now))
        return Composed(recipe, body, objective.task, optimizer, self._config.seed)

    def _score(
        self, body: Body, objective: Objective, sample: Batch | None, *, tell: bool = False
    ) -> float | None:
        """The mean loss of all rows held as they are answered now; with `tell` memory learns each row's."""
        memory, task, total, count = self._memory, objective.task, 0.0, 0
        for slots, rows in self._held(sample):
            outputs = body.infer(rows.inputs)
            losses = task.losses(outputs, rows.targets)
            total, count = total + float(losses.double().sum()), count + len(losses)
            if tell and memory is not None and memory.scores:
                memory.seen_again(slots, losses)
                memory.seen_again(slots, torch.special.entr(outputs.softmax(1)).sum(1), "entropy")
        return total / count if count else None

    def _held(self, sample: Batch | None) -> Iterator[tuple[Tensor, Batch]]:
        memory = self._memory
        if sample is not None:
            yield torch.arange(len(sample)), sample
        if memory is not None:
            for first in range(0, len(memory), TOGETHER):
                slots = torch.arange(first, min(first + TOGETHER, len(memory)))
                yield slots, _stored(memory, slots)


class Now:
    """A term that holds the model to what it answers now, wherever it goes from here.

    Args:
        view: of the model.
        weight: of T^2 KL(now || then), T = 2; the task's own loss where there are no classes.
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, view: View, weight: float) -> None:
        self._module, self._teacher = view.module, Predecessor()
        self._teacher.consolidate(view)
        self._distillation = Distillation(weight, TEMPERATURE)

    def __call__(self, forward: Forward) -> Tensor | None:
        """The mean divergence of a row."""
        answers = self._teacher.outputs(self._module, forward.batch.inputs)
        return self._distillation(Forward(forward.batch, forward.outputs, forward.task, answers))


def _stored(memory: ReplayBuffer, slots: Tensor) -> Batch:
    columns = memory.table.get(slots)
    return Batch(columns["inputs"], columns["targets"], columns.get("weights"))
