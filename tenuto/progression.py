"""Progressive adapters: each context has one of its own, which is frozen when it ends (Rusu et al. 2016).

    a row's answer = the adapter that the router names, with the head as that adapter left it

A model with a bank (a PEFT model in it) gets a new low-rank adapter for each context. A module without one is
copied at each context's end, whole: for small models. Whatever else is trained, as the head, is kept beside
each adapter. Where everything that is trained lies in the bank, the bare base can answer, and does where the
router knows no row like this one; a classifier's base knows no label, so there the nearest adapter answers,
and `route` tells the stranger.

The invariant: what a closed context's adapter answers never changes, bit for bit. With as many adapters as
are allowed, the last one goes on learning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from tenuto import trees
from tenuto.adapters.bank import Bank
from tenuto.adapters.filling import filled
from tenuto.adapters.names import fits
from tenuto.adapters.neighbours import Neighbours
from tenuto.adapters.router import Router
from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError, StateError
from tenuto.methods import Growth
from tenuto.models import Body
from tenuto.modes import evaluating
from tenuto.protocols import Optimizer, Task, View
from tenuto.remembering import embedded
from tenuto.trees import Tree
from tenuto.types import Batch, State, Trace

TOGETHER = 64
"""Rows that the base embeds at once."""


class Progression:
    """A learner's adapters, and the router that decides between them: a part, which closes with the context.

    Args:
        growth: the method's.
        config: the learner's.

    Raises:
        ConfigError: the learner is to sleep, which would teach the present adapter rows of others.
    """

    def __init__(self, growth: Growth, config: OnlineLearnerConfig) -> None:
        if config.sleep_updates:
            raise ConfigError(
                "progressive adapters do not sleep: a closed one never changes; leave sleep_updates at 0"
            )
        self._most, self._seed = growth.most, config.seed
        self.router = _router(growth, config.seed)
        self._name: str | None = None
        self._kept: dict[str, Tree] = {}
        self._retired: set[str] = set()
        self.bank: Bank | None = None

    def bind(self, body: Body, optimizer: Optimizer) -> None:
        """Take the model that learns, and what moves it."""
        self._body, self._optimizer = body, optimizer
        self.bank = Bank.of(body.module)
        low = set() if self.bank is None else {id(one) for one in self.bank.parameters()}
        self._beside = [name for name, one in body.params.items() if id(one) not in low]
        self._buffers = [name for name, _ in body.module.named_buffers()]

    @property
    def names(self) -> list[str]:
        """The adapters that have learned, in the order in which they began."""
        current = [] if self._name is None or self._name in self._kept else [self._name]
        return [*self._kept, *current]

    @property
    def falls_back(self) -> bool:
        """Can the bare base answer? Where something beside the adapters is trained, it cannot."""
        return self.bank is not None and not self._beside

    @property
    def numbers(self) -> int:
        """How many numbers were learned that answer: all adapters, and what is kept beside each."""
        low = sum(one.numel() for one in self.bank.parameters()) if self.bank is not None else 0
        live = [] if self._name in self._kept else [self._own()]
        return low + sum(one.numel() for tree in (*self._kept.values(), *live) for one in tree.values())

    def open(self, domains: Sequence[str | None] | None, undo: list[Callable[[], None]]) -> None:
        """Begin an adapter where none learns; `undo` gains what takes that back."""
        before, bank = self._name, self.bank
        if before is not None and before not in self._kept:
            return
        name, moments = self._free(domains), trees.detach(self._optimizer.state())
        began = None if bank is None else bank.active
        undo.append(partial(self._take_back, before, began, name, moments))
        if bank is not None and began is not None:
            if before is not None:
                bank.add(name, seed=self._seed)
            elif began != name:
                bank.rename(began, name)
        self._name = name
        self._optimizer.reset()
        self._hold()

    def _free(self, domains: Sequence[str | None] | None) -> str:
        """Of the next adapter: its domain's where that will do, else a number; an only one keeps its own."""
        if self._most == 1 and self.bank is not None:
            return self.bank.active
        domain = next((one for one in domains or () if one is not None), None)
        others = set(self.bank.names) if self.bank is not None else set()
        first = {self.bank.active} if self.bank is not None and self._name is None else set()
        taken = set(self._kept) | others - first
        if domain is not None and fits(domain) and domain not in taken:
            return domain
        number = len(taken) + 1
        return next(name for n in range(number, 2 * number + 1) if (name := f"context-{n}") not in taken)

    def _take_back(self, before: str | None, began: str | None, name: str, moments: State) -> None:
        bank = self.bank
        if bank is not None and began is not None:
            if before is not None:
                bank.activate(began)
                bank.remove(name)
            elif began != name:
                bank.rename(name, began)
        self._name = before
        self._hold()
        self._optimizer.load_state(moments)
        self._optimizer.resize(self._body.params)

    def _hold(self) -> None:
        """Have the body hold the parameters of the adapter in use, frozen or not."""
        bank = self.bank
        if bank is not None and bank.status[bank.active] != "active":
            bank.thaw(bank.active)
            self._body.follow()
            bank.freeze(bank.active)
        else:
            self._body.follow()

    def note(self, fresh: Batch, task: Task) -> None:
        """Rows of the present context were learned: (n, *shape) as they are kept, targets encoded."""
        if self._name is not None:
            self.router.note(self._name, self.embed(fresh.inputs), task.groups(fresh.targets))

    def set_apart(self, inputs: Tensor) -> None:
        """Ordinary rows (n, *shape), by which the router tells what no adapter is to answer."""
        if isinstance(self.router, Neighbours):
            self.router.set_apart(self.embed(inputs))

    def observe(self, trace: Trace) -> None:
        """The router is told of rows once, whatever the passes: see `note`."""

    def consolidate(self, view: View) -> None:
        """Freeze the adapter that learned, and keep what else was trained as it is now."""
        name = self._name
        if name is None or name in self._kept or len(self._kept) + 1 >= self._most:
            return
        self._kept[name] = trees.copy(self._own())
        if self.bank is not None:
            self.bank.freeze(name)

    @property
    def closed(self) -> list[str]:
        """The adapters that may retire: those that learn no more."""
        return [name for name in self._kept if name != self._name]

    @property
    def retired(self) -> list[str]:
        """The adapters that answer no row any more."""
        return sorted(self._retired)

    def check_closed(self, name: str) -> None:
        """Raises ConfigError where no adapter of this name could retire."""
        if name not in self.closed:
            closed = ", ".join(self.closed) or "none yet"
            raise ConfigError(f"{name!r} is no closed adapter that could retire; those are: {closed}")

    def retire(self, name: str) -> None:
        """Have a closed adapter answer no row any more; what it learned stays.

        Raises:
            ConfigError: there is no such adapter, or it is the one that learns.
        """
        self.check_closed(name)
        self._retired.add(name)
        if self.bank is not None:
            self.bank.settle(self._kept, self._retired)

    def embed(self, inputs: Tensor) -> Tensor:
        """Rows (n, *shape) as vectors that no learning moves: as the base reads them, or as they are."""
        body, bank = self._body, self.bank
        head = f"{body.output}." if body.output is not None else None
        still = all(head is not None and name.startswith(head) for name in self._beside)
        if bank is None or not still:
            return body.read(inputs).detach().flatten(1).float()
        with bank.using(None):
            own = getattr(body.module, "embed", None)
            if own is None:
                return embedded(body, inputs)
            with evaluating(body.module), torch.no_grad():
                return torch.cat([own(body.read(part)).float() for part in torch.split(inputs, TOGETHER)])

    def route(self, inputs: Tensor) -> list[str | None]:
        """For rows (n, *shape) the adapter they belong to; None where it is like nothing that was learned."""
        if not self.router.names:
            return [None] * len(inputs)
        return self.router.route(self.embed(inputs), self._retired)

    def infer(self, inputs: Tensor) -> Tensor:
        """Outputs (n, c) for rows (n, *shape), each by its own adapter; columns beyond its hold its least."""
        asked = self.asked(inputs)
        if len(set(asked)) == 1:
            return self.answer(asked[0], inputs)
        found = []
        for name in dict.fromkeys(asked):
            rows = torch.tensor([n for n, other in enumerate(asked) if other == name])
            found.append((rows, self.answer(name, inputs[rows])))
        shape = [max(sizes) for sizes in zip(*(part.shape[1:] for _, part in found), strict=True)]
        outputs = found[0][1].new_zeros(len(inputs), *shape)
        for rows, part in found:
            outputs[rows.to(outputs.device)] = filled(part, shape)
        return outputs

    def asked(self, inputs: Tensor) -> Sequence[str | None]:
        """Who answers each row."""
        known = self.router.names
        if not known or (len(known) == 1 and not self.falls_back):
            return [self._name] * len(inputs)
        rows = self.embed(inputs)
        decide = self.router.route if self.falls_back else self.router.nearest
        return decide(rows, self._retired)

    def answer(self, name: str | None, inputs: Tensor) -> Tensor:
        """Outputs (n, c) of one adapter, or of the bare base, for rows (n, *shape)."""
        with self.using(name):
            found = self._body.infer(inputs, self._kept.get(name) if name is not None else None)
        columns = self._body.width
        return found if columns is None or found.dim() > 2 else filled(found, [columns])

    @contextmanager
    def using(self, name: str | None) -> Iterator[None]:
        """Inside, this adapter of the bank answers, or the bare base; what learns is as before after it."""
        if self.bank is None or (name is None and not self.router.names):
            yield
            return
        with self.bank.using(name):
            yield

    def _own(self) -> Tree:
        """What is trained beside the bank, and every buffer that is saved: by name, live."""
        whole = self._body.state()
        return {name: whole[name] for name in (*self._beside, *self._buffers) if name in whole}

    def state(self) -> State:
        """Who learns, what is kept of those that are closed, and the router's."""
        bank = self.bank
        return {
            "name": self._name,
            "closed": list(self._kept),
            "kept": {name: dict(tree) for name, tree in self._kept.items()},
            "bank": None if bank is None else {"names": sorted(bank.names), "active": bank.active},
            "retired": self.retired,
            "router": self.router.state(),
        }

    def load_state(self, state: State) -> None:
        """Take saved adapters; those of the bank are there already: see `fit`."""
        name, closed = state["name"], [str(one) for one in state["closed"]]
        kept = {one: trees.copy(state["kept"][one]) for one in closed}
        self.router.load_state(state["router"])
        self._name, self._kept, self._retired = name, kept, set(state["retired"])
        if self.bank is not None:
            self.bank.settle(kept, self._retired)

    def fit(self, state: State) -> None:
        """Have the bank hold the adapters of a saved state, whatever is in them."""
        bank, saved = self.bank, state["bank"]
        if (bank is None) != (saved is None):
            raise StateError("the state is of a model with adapters, or this one is; not both")
        if bank is None:
            return
        for name in saved["names"]:
            if name not in bank.names:
                bank.add(name)
        bank.activate(saved["active"])
        for name in set(bank.names) - set(saved["names"]):
            bank.remove(name)
        self._hold()


def _router(growth: Growth, seed: int) -> Router | Neighbours:
    if growth.neighbours:
        return Neighbours(wrong=growth.wrong)
    return Router(wrong=growth.wrong, shrinkage=growth.shrinkage, seed=seed)
