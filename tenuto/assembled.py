"""A learner's parts, and how they are saved and taken back.

The invariant: what is saved is all that a later step depends on, as plain data and tensors; what does not fit
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tenuto import guards, methods, optimizers, trees
from tenuto.adapters.blocks import over
from tenuto.adapters.experts import expert
from tenuto.config import OnlineLearnerConfig
from tenuto.context import Context
from tenuto.counters import Counters
from tenuto.errors import ConfigError, StateError
from tenuto.methods.shared.anchors import likeliest
from tenuto.methods.shared.objective import Composed
from tenuto.models.inputs import question, tensor
from tenuto.oracle import Oracle
from tenuto.progression import Progression
from tenuto.recall import remember
from tenuto.remembering import Remembering
from tenuto.reports import OnlineLearnerStats
from tenuto.sleep import Sleep
from tenuto.types import Batch, State
from tenuto.watch import Watch

FORMAT = 1
TOGETHER = 4
"""Anchors that are answered at once: each token's answer is as wide as the vocabulary."""
CHANGEABLE = ("learning_rate", "replay_ratio", "passes", "protection")
"""Settings that may change while a learner lives; they are part of its state."""
LATER = {"protection": 1.0}
"""Those of them that states of earlier releases lack: left out where they are as they were then."""


@runtime_checkable
class Protecting(Protocol):
    """A part that holds earlier knowledge with a strength."""

    def protect(self, factor: float) -> None:
        """Hold it with so many times the strength that was asked for."""


class Assembled(Remembering):
    """A predictor with all that learning takes: method, optimizer, guard, memory, context, watch, sleep."""

    def __init__(
        self,
        model: nn.Module | None = None,
        config: OnlineLearnerConfig | None = None,
        *,
        method: str | methods.Recipe = "er",
        options: Mapping[str, Any] | None = None,
        optimizer: optimizers.Factory | None = None,
    ) -> None:
        config = config or OnlineLearnerConfig()
        self.recipe = methods.load(method, options) if isinstance(method, str) else method
        if config.task == "language" and not self.recipe.language:
            raise ConfigError(f"method {self.recipe.name!r} cannot learn language; anchored, er or ewc can")
        if self.recipe.blocks and model is None:
            raise ConfigError(f"method {self.recipe.name!r} learns adapters: give it a model that has some")
        self.guard = guards.load(config.guard)
        self._looks = guards.reads_activations(self.guard)
        group = expert if self.recipe.experts > 1 else None
        self.optimizer = optimizers.make(config, optimizer, group=group)
        memory = remember(self.recipe, config)
        self.counters, self.watch = Counters(), Watch(config)
        self.adapters = None if self.recipe.growth is None else Progression(self.recipe.growth, config)
        adapters = {} if self.adapters is None else {"adapters": self.adapters}
        self.context = Context({**dict(self.recipe.parts()), **adapters}, self.recipe.context, config.seed)
        self.sleep = Sleep(self.recipe, config, memory, self.context, self.counters)
        self._origin: State = {}
        self._pace = 1.0
        super().__init__(model, config, memory)
        self._protect()

    def _adopt(self, module: nn.Module) -> None:
        blocks = None
        if self.recipe.blocks:
            begun, seed = self.optimizer.reset, self.config.seed
            many = {"experts": self.recipe.experts, "active": self.recipe.active}
            blocks = over(module, most=self.recipe.blocks, seed=seed, begun=begun, **many)
        super()._adopt(module)
        body = self.body
        body.adapter = blocks
        self._objective = Composed(self.recipe, body, self.task, self.optimizer, self.config.seed)
        self.oracle = Oracle(body, self._objective, self.memory, self.counters, self.config.seed)
        self._origin = trees.copy(body.state()) if self.recipe.restart else {}
        if self.adapters is not None:
            self.adapters.bind(body, self.optimizer)

    def outputs(self, inputs: Any) -> Tensor:
        """Raw outputs (n, c) for rows (n, *shape), in evaluation mode; nothing changes.

        Where each context has an adapter, a row is answered by the one it belongs to.
        """
        if self.adapters is None or self._body is None:
            return super().outputs(inputs)
        return self.adapters.infer(question(inputs, self._shape))

    def route(self, inputs: Any) -> list[str | None]:
        """For rows (n, *shape) the name of the adapter they belong to; None where they are like no other.

        Raises:
            ConfigError: the method gives no context an adapter of its own.
        """
        if self.adapters is None:
            raise ConfigError(
                f"method {self.recipe.name!r} has one set of weights and no router; take progressive"
            )
        return self.adapters.route(question(inputs, self._shape))

    @contextmanager
    def answering(self, row: Any) -> Iterator[str | None]:
        """Inside, the model answers as it is to answer this row (*shape): with this adapter, or bare.

        For what asks the model itself, as a generator of text does; where there is no router, all is as ever.
        """
        adapters = self.adapters
        if adapters is None or not adapters.router.names:
            yield None
            return
        (name,) = self.route(tensor(row)[None])
        with adapters.using(name):
            yield name

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change settings from the next step on. Raises ConfigError where one cannot change."""
        for name in changes:
            if name not in CHANGEABLE:
                raise ConfigError(f"{name} cannot change in a living learner; {', '.join(CHANGEABLE)} can")
        before, self.config = self.config, self.config.but(changes)
        if self.config.learning_rate != before.learning_rate:
            self.optimizer.learning_rate = self.config.learning_rate
        if self.config.protection != before.protection:
            self._protect()

    def _protect(self) -> None:
        """Tell what protects earlier knowledge how much of its strength acts."""
        for part in (*self.recipe.terms, *self.recipe.penalties):
            if isinstance(part, Protecting):
                part.protect(self.config.protection)

    def anchor(self, rows: Batch) -> None:
        """Hold the answers to these rows to what they are now; before anything was learned.

        Raises:
            ConfigError: the method has no anchors, has been given them, or something was learned.
            ExampleError: a row cannot be read.
        """
        anchors, body = self.recipe.anchors, self.body
        if anchors is None or self.counters.steps:
            why = "something was learned" if self.counters.steps else f"{self.recipe.name} holds to none"
            raise ConfigError(f"anchors are given to a method that holds to them, before it learns: {why}")
        inputs, targets = body.settle(tensor(rows.inputs)), self.task.encode(rows.targets)
        if targets is None:
            raise ConfigError("the anchors' labels must be known: list them in classes")
        body.check(inputs)
        room = targets.shape[1] if targets.dim() == 2 else 0
        found = [likeliest(body.infer(part), room) for part in torch.split(inputs, TOGETHER)]
        which, chances = (torch.cat(parts) for parts in zip(*found, strict=True))
        anchors.hold(inputs, targets, which, chances)
        if self.adapters is not None:
            self.adapters.set_apart(inputs)
        if self.recipe.protection is not None:
            self.recipe.protection.hold(self._objective, Batch(body.read(inputs), targets))

    def _unwind(self) -> Callable[[], None]:
        """What takes back all that closing the context will change."""
        undo, body = self.context.undo(self.counters), self.body
        if (adapter := body.adapter) is None:
            return undo
        held, weights, moments = (
            adapter.state(),
            trees.copy(body.state()),
            trees.detach(self.optimizer.state()),
        )

        def take_back() -> None:
            undo()
            adapter.load_state(held)
            body.load_state(weights)
            self.optimizer.load_state(moments)

        return take_back

    @property
    def steps(self) -> int:
        """Updates made."""
        return self.counters.steps

    @property
    def examples(self) -> int:
        """Rows learned."""
        return self.counters.examples

    @property
    def stats(self) -> OnlineLearnerStats:
        """Counters so far; reading the running loss waits for the device."""
        return self.counters.stats(0 if self.memory is None else len(self.memory))

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
        self.configure({name: {**LATER, **state["settings"]}[name] for name in CHANGEABLE})
        if self.adapters is not None:
            self.adapters.fit(state["parts"]["adapters"])
        self._take_form(state)
        if self._body is not None and self._body.adapter is not None:
            self._body.adapter.load_state(state["adapter"])
        self.optimizer.load_state(state["optimizer"])
        if self._body is not None:
            self.optimizer.resize(self._body.params)
        self.guard.load_state(state["guard"])
        if self.memory is not None:
            self.memory.load_state(state["memory"])
        self.context.load_state(state["parts"])
        self.watch.load_state(state.get("watch", {}))
        names = state["model"] if self.recipe.restart and self._body is not None else ()
        self._origin = {name: state["origin"][name].detach().clone() for name in names}
        self.counters.load_state(state["counters"])

    def _state(self) -> State:
        return {
            "format": FORMAT,
            "method": self.recipe.name,
            **self._form(),
            "optimizer": self.optimizer.state(),
            "guard": self.guard.state(),
            "memory": None if self.memory is None else self.memory.state(),
            "parts": self.context.state(),
            "counters": self.counters.state(),
            "settings": {n: v for n in CHANGEABLE if (v := getattr(self.config, n)) != LATER.get(n)},
            **({"origin": dict(self._origin) if self._body else {}} if self.recipe.restart else {}),
            **({"watch": watched} if (watched := self.watch.state()) else {}),
            **({"adapter": adapter.state()} if self._body and (adapter := self._body.adapter) else {}),
        }
