"""Guards judge an update before it is committed. `load("finite")` imports `guards.finite`.

`load("finite+divergence")` is a chain: each judges in turn, the first that does not keep decides, and the
later ones do not see that step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from tenuto.config import Limits
from tenuto.errors import ConfigError
from tenuto.parts import check_options, declared, find
from tenuto.protocols import Guard
from tenuto.types import KEEP, State, Trace, Verdict


@runtime_checkable
class Auditor(Guard, Protocol):
    """A guard that also judges answers to held-out items, and stops all learning where they got worse."""

    @property
    def frozen(self) -> str:
        """Why nothing is learned now; empty where it is."""

    def check(self, groups: Tensor) -> None:
        """Return where items in groups (n,) can be evaluated. Raises ConfigError."""

    def evaluate(self, right: Tensor, groups: Tensor) -> Verdict:
        """Judge right answers (n,) to n items in groups (n,), the same ones every time."""

    def rebase(self) -> None:
        """Learn again, measured by the next evaluation: the loss is accepted."""


class Chain:
    """Several guards in turn, by name.

    >>> Chain({name: load(name) for name in ("finite", "none")}).state()
    {'finite': {}, 'none': {}}
    """

    def __init__(self, guards: Mapping[str, Guard]) -> None:
        self.guards = dict(guards)

    def judge(self, trace: Trace) -> Verdict:
        """The first verdict that does not keep; else as small an update as any of them wants."""
        least = KEEP
        for guard in self.guards.values():
            verdict = guard.judge(trace)
            if not verdict.keeps:
                return verdict
            if verdict.scale < least.scale:
                least = verdict
        return least

    def state(self) -> State:
        """Each guard's own, by name."""
        return {name: guard.state() for name, guard in self.guards.items()}

    def load_state(self, state: State) -> None:
        """Take each guard's own."""
        for name, guard in self.guards.items():
            guard.load_state(state[name])


def load(name: str, options: Mapping[str, Mapping[str, Any]] | None = None) -> Guard:
    """The guard of that name, or the chain of several joined by "+".

    Args:
        options: options by guard's name.

    >>> type(load("finite")).__name__, type(load("finite+bounds", {"bounds": {"weight": 10.0}})).__name__
    ('Finite', 'Chain')
    """
    names = [part.strip() for part in name.split("+")]
    if len(set(names)) < len(names):
        raise ConfigError(f"guard {name!r} names one twice")
    if strange := sorted(set(options or {}) - set(names)):
        raise ConfigError(f"options for {', '.join(strange)}, which guard {name!r} does not name")
    guards = {one: _make(one, (options or {}).get(one, {})) for one in names}
    return Chain(guards) if len(names) > 1 else guards[name.strip()]


def auditor(guard: Guard) -> Auditor | None:
    """The guard, or the first of a chain, that judges held-out answers.

    >>> auditor(load("finite")), type(auditor(load("finite+retention"))).__name__
    (None, 'Retention')
    """
    chain = guard.guards.values() if isinstance(guard, Chain) else [guard]
    return next((one for one in chain if isinstance(one, Auditor)), None)


def reads_activations(guard: Guard) -> bool:
    """Must the learner tell this guard, or one of its chain, how large rows are behind each layer?

    >>> reads_activations(load("finite")), reads_activations(load("finite+activations"))
    (False, True)
    """
    chain = guard.guards.values() if isinstance(guard, Chain) else [guard]
    return any(getattr(one, "reads_activations", False) for one in chain)


def options(name: str) -> dict[str, Limits]:
    """What a guard's options may be, by name.

    >>> options("bounds")["weight"].low
    0.0
    """
    return {option: limits for option, (_, limits) in declared(_maker(name)).items()}


def _make(name: str, given: Mapping[str, Any]) -> Guard:
    make = _maker(name)
    check_options(f"guard {name!r}", make, given)
    return make(**given)


def _maker(name: str) -> Callable[..., Guard]:
    make: Callable[..., Guard] = find(__name__, "guard", name).guard
    return make
