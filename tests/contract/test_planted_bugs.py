"""The checks catch what they are for: each learner here is broken in one way, by one planted part."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tenuto import Learner, Recipe, Replay, trees
from tenuto.guards.none import Unguarded
from tenuto.memory.insertion.fifo import Fifo
from tenuto.methods.shared.terms import Supervised
from tenuto.protocols import Forward, Incoming, View
from tenuto.trees import Tree
from tenuto.types import State, Trace
from tests.contract import checks
from tests.contract.walks import CLASSES, CONFIG, FEATURES, WALK, Make


class Penalty:
    """A penalty that does nothing, rightly."""

    def penalty_gradient(self, params: Tree, onto: Tree | None = None) -> Tree | None:
        """A gradient of zero."""
        return trees.add({name: torch.zeros_like(p) for name, p in params.items()}, onto)

    def observe(self, trace: Trace) -> None:
        """Nothing to note."""

    def consolidate(self, view: View) -> None:
        """Nothing to close."""

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


class Forgetful(Penalty):
    """Its state decides the step, and is not saved."""

    seen = 0

    def observe(self, trace: Trace) -> None:
        self.seen += 1

    def penalty_gradient(self, params: Tree, onto: Tree | None = None) -> Tree | None:
        return trees.add({name: torch.full_like(p, 0.01 * self.seen) for name, p in params.items()}, onto)


class Clocked(Penalty):
    """It reads the clock."""

    def penalty_gradient(self, params: Tree, onto: Tree | None = None) -> Tree | None:
        return trees.add(
            {name: torch.full_like(p, time.perf_counter_ns() % 97 / 97) for name, p in params.items()}, onto
        )


class Gambling(Penalty):
    """It draws from a generator of the process."""

    def penalty_gradient(self, params: Tree, onto: Tree | None = None) -> Tree | None:
        return trees.add({name: torch.full_like(p, random.random()) for name, p in params.items()}, onto)


class Noted(Penalty):
    """It saves what is no plain data."""

    def state(self) -> State:
        return {"seen": {1, 2}}


class Sharing(Penalty):
    """It keeps the loaded tensor itself, and the learner's state changes with it."""

    def __init__(self) -> None:
        self.total = torch.zeros(1)

    def state(self) -> State:
        return {"total": self.total}

    def load_state(self, state: State) -> None:
        self.total = state["total"]


class Hoarding(Penalty):
    """Its state grows with every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def observe(self, trace: Trace) -> None:
        self.losses.append(trace.loss)

    def state(self) -> State:
        return {"losses": list(self.losses)}

    def load_state(self, state: State) -> None:
        self.losses = list(state["losses"])


class Hasty(Penalty):
    """It notes a step that may yet be refused."""

    def __init__(self) -> None:
        self.asked = 0

    def penalty_gradient(self, params: Tree, onto: Tree | None = None) -> Tree | None:
        self.asked += 1
        return None

    def state(self) -> State:
        return {"asked": self.asked}

    def load_state(self, state: State) -> None:
        self.asked = state["asked"]


class Trusting(Penalty):
    """It takes a state with a piece missing."""

    def state(self) -> State:
        return {"a": 1, "b": 2}

    def load_state(self, state: State) -> None:
        state.get("a", 0)


class Unweighted(Supervised):
    """It forgets the rows' weights."""

    def __call__(self, forward: Forward) -> Tensor | None:
        return forward.task.loss(forward.outputs, forward.batch.targets)


class Greedy(Fifo):
    """It answers with a slot beyond the capacity."""

    def slots(self, incoming: Incoming) -> list[int]:
        return [n % 13 for n in range(incoming.first, incoming.first + len(incoming.groups))]


class Batched(Fifo):
    """It counts batches, not rows."""

    def slots(self, incoming: Incoming) -> list[int]:
        return (
            [0 if row else -1 for row in range(len(incoming.groups))]
            if incoming.first
            else [0] * len(incoming.groups)
        )


class Counting(nn.Module):
    """A model that counts its questions."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(FEATURES, len(CLASSES))
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs that depend on how often they were asked for."""
        self.asked += 1
        outputs: Tensor = self.head(rows) * (1 + 0.01 * self.asked)
        return outputs


def planted(part: type[Penalty]) -> Make:
    """Learners with this part, each its own."""

    def make(seed: int) -> Learner:
        recipe = Recipe(name="planted", replay=(Replay(),), penalties=(part(),))
        return Learner(config=replace(CONFIG, seed=seed), method=recipe)

    return make


def unweighted(seed: int) -> Learner:
    """A learner whose loss ignores weights."""
    recipe = Recipe(name="planted", replay=(Replay(),), terms=(Unweighted(),))
    return Learner(config=replace(CONFIG, seed=seed), method=recipe)


def inserting(policy: Callable[[int], Any]) -> Make:
    """Learners whose memory inserts by this policy."""

    def make(seed: int) -> Learner:
        learner = Learner(config=replace(CONFIG, seed=seed))
        assert learner.memory is not None
        learner.memory.insertion = policy(CONFIG.memory_size)
        return learner

    return make


def unguarded(seed: int) -> Learner:
    """A learner that keeps every update."""
    learner = Learner(config=replace(CONFIG, seed=seed))
    learner.guard = Unguarded()
    return learner


def counting(seed: int) -> Learner:
    """A learner whose model changes when it is asked."""
    return Learner(Counting(), replace(CONFIG, seed=seed))


def seedless(seed: int) -> Learner:
    """A learner that takes no notice of its seed."""
    return Learner(config=CONFIG)


BUGS: list[tuple[checks.Check, Make]] = [
    (checks.resumes_at_every_step, planted(Forgetful)),
    (checks.goes_back_in_time, planted(Forgetful)),
    (checks.the_seed_decides, planted(Clocked)),
    (checks.the_seed_decides, seedless),
    (checks.global_generators_are_apart, planted(Gambling)),
    (checks.state_is_plain, planted(Noted)),
    (checks.state_is_plain, planted(Sharing)),
    (checks.a_refused_update_changes_nothing, planted(Hasty)),
    (checks.a_refused_update_changes_nothing, unguarded),
    (checks.a_strange_state_is_refused, planted(Trusting)),
    (checks.weights_are_honoured, unweighted),
    (checks.memory_is_split_blind, inserting(Batched)),
    (checks.predicting_changes_nothing, counting),
    (lambda make, _: checks.memory_is_bounded(make, 400), planted(Hoarding)),
]


@pytest.mark.parametrize(("check", "make"), BUGS)
def test_a_planted_bug_is_caught(check: checks.Check, make: Make) -> None:
    with pytest.raises(AssertionError):
        check(make, WALK)


def test_a_slot_beyond_the_capacity_is_an_error() -> None:
    with pytest.raises((AssertionError, IndexError)):
        checks.memory_is_bounded(inserting(Greedy), 400)


@pytest.mark.parametrize("check", checks.CHECKS.values(), ids=checks.CHECKS)
def test_a_part_that_does_nothing_passes(check: checks.Check) -> None:
    check(planted(Penalty), WALK)
