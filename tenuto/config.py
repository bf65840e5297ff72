"""Every setting of a learner and of a session, with its unit, bounds and usual range.

A setting outside its bounds is refused when the config is made. The usual range is what the
field's papers use; a value outside it is allowed, and `OnlineLearnerConfig.unusual` names it.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self

from tenuto.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a setting may be: closed bounds, the usual range, the choices, the unit."""

    low: float = -math.inf
    high: float = math.inf
    usual: tuple[float, float] | None = None
    choices: tuple[str, ...] | None = None
    unit: str = ""
    help: str = ""


def _setting(default: Any, help: str, **limits: Any) -> Any:
    return field(default=default, metadata={"limits": Limits(help=help, **limits)})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settings:
    """Settings that check themselves."""

    def __post_init__(self) -> None:
        for name, (kind, limits) in _settings(type(self)).items():
            check(name, getattr(self, name), kind, limits)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Make a config from a mapping; an unknown name is refused with the nearest known one."""
        known = _settings(cls)
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known))}"
                raise ConfigError(f"unknown option {name!r}{hint}")
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in options.items()})

    def but(self, changes: Mapping[str, Any]) -> Self:
        """A copy with some settings changed, checked again."""
        return type(self).of({**self.to_plain(), **changes})

    def to_plain(self) -> dict[str, Any]:
        """Plain data, as `of` takes it."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in plain.items()}

    def unusual(self) -> dict[str, tuple[float, float]]:
        """Settings outside the range the field uses, with that range."""
        found = {}
        for name, (_, limits) in _settings(type(self)).items():
            value = getattr(self, name)
            if limits.usual and value is not None and not limits.usual[0] <= value <= limits.usual[1]:
                found[name] = limits.usual
        return found


TASKS = ("classification", "regression", "language")
PRECISIONS = ("float32", "bfloat16", "float16")
READINGS = ("error", "loss", "uncertainty", "inputs")
ANSWERS = ("consolidate", "renew", "passes", "replay")


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineLearnerConfig(_Settings):
    """How a learner learns. Every field is checked against its type and bounds.

    >>> OnlineLearnerConfig(learning_rate=0.05).replay_ratio
    0.5
    >>> OnlineLearnerConfig(learning_rate=-1.0)
    Traceback (most recent call last):
        ...
    tenuto.errors.ConfigError: learning_rate is -1.0; it must be at least 0
    """

    seed: int = _setting(0, "key of every random draw", low=0, high=2**63 - 1)
    task: str = _setting("classification", "what targets mean", choices=TASKS)
    batch_size: int = _setting(10, "fresh rows per step", low=1, high=65536, unit="rows")
    optimizer: str = _setting("sgd", "update rule", choices=("sgd", "adamw"))
    learning_rate: float = _setting(0.01, "step size", low=0.0, high=10.0, usual=(1e-4, 1e-2))
    momentum: float = _setting(0.0, "SGD's momentum", low=0.0, high=0.9999)
    betas: tuple[float, float] = _setting((0.9, 0.999), "AdamW's decay of moments", low=0.0, high=0.999999)
    eps: float = _setting(1e-8, "AdamW's denominator offset", low=0.0, high=1.0)
    weight_decay: float = _setting(0.0, "L2 for SGD, decoupled for AdamW", low=0.0, high=1.0)
    accumulate: int = _setting(
        1, "steps whose mean gradient makes one move", low=1, high=65536, usual=(1, 32), unit="steps"
    )
    memory_size: int | None = _setting(
        None,
        "rows the replay buffer holds; None: the method's own, 500 for most",
        low=1,
        usual=(200, 5000),
        unit="rows",
    )
    memory_bytes: int | None = _setting(
        None,
        "bytes it holds at most, what lies beside rows included; None: no such bound",
        low=1,
        unit="bytes",
    )
    memory_keep: str | None = _setting(
        None, "rules for what it keeps, as principal:0.5+age:10000; None: its policy alone"
    )
    memory_compress: int | None = _setting(
        None, "numbers it keeps of an input, by principal components; None: all", low=1, usual=(16, 256)
    )
    replay_ratio: float = _setting(
        0.5, "replayed / (fresh + replayed) rows of one draw", low=0.0, high=0.95, usual=(0.3, 0.5)
    )
    insertion: str | None = _setting(None, "insertion policy; None: the method's own")
    sampling: str | None = _setting(None, "sampling policy; None: the method's own")
    passes: int = _setting(1, "updates per batch", low=1, high=1000)
    warmup: int = _setting(0, "updates over which the learning rate rises to its own", low=0, unit="updates")
    protection: float = _setting(
        1.0, "times the strength of anchors and of springs (EWC, SI, MAS) acts", low=0.0, high=1000.0
    )
    stop_loss: float | None = _setting(
        None, "no further pass once the rows' mean loss was below this", low=0.0, unit="nats"
    )
    hidden: tuple[int, ...] = _setting(
        (256, 256), "widths of the default model's hidden layers", low=1, high=65536
    )
    head: str = _setting("grow", "may the output layer gain classes?", choices=("grow", "fixed"))
    head_layer: str | None = _setting(None, "name of the output layer; None: the last Linear")
    classes: tuple[int | str, ...] | None = _setting(None, "labels of the head's columns, in order")
    boundaries: str = _setting(
        "domain", "what ends a context beside `consolidate`: a change of domain", choices=("domain", "none")
    )
    consolidate_every: int | None = _setting(
        None, "rows learned between two consolidations by itself; None: it makes none", low=1, unit="rows"
    )
    sleep_updates: int = _setting(
        0, "updates a consolidation makes on recent rows mixed with replayed ones", low=0, unit="updates"
    )
    sleep_recent: float = _setting(0.25, "recent / all rows of such an update", low=0.05, high=1.0)
    sleep_distil: float = _setting(
        0.0, "weight of the answers before the sleep in what it learns", low=0.0, usual=(0.0, 10.0)
    )
    refresh_every: int = _setting(
        1, "consolidations per closing of the method's context, importance included", low=1
    )
    guard: str = _setting("finite", "what an update must pass: a guard's name")
    drift: str | None = _setting(
        None, "what watches the stream: detectors' names, joined by +; None: nothing"
    )
    drift_on: str = _setting(
        "error", "read of fresh rows yet to be learned; a regression's error is its loss", choices=READINGS
    )
    drift_answers: tuple[str, ...] = _setting(
        ("consolidate",), "what is done about a report: nothing, or several", choices=ANSWERS
    )
    drift_steps: int = _setting(100, "how long more passes or replay answer a report", low=1, unit="steps")
    precision: str = _setting(
        "float32", "what a language model's frozen base is held in; adapters are float32", choices=PRECISIONS
    )
    checkpointing: bool = _setting(
        False, "does a language model compute activations again in the backward, and keep fewer?"
    )
    device: str = _setting("cpu", "where the model lives")

    def __post_init__(self) -> None:
        _Settings.__post_init__(self)
        labels = self.classes or ()
        if len(set(labels)) < len(labels) or len(set(map(type, labels))) > 1:
            raise ConfigError(f"classes is {labels!r}; it must be labels of one type, each listed once")

    @classmethod
    def fast(cls) -> Self:
        """Quick adaptation: a higher rate, half of every batch replayed."""
        return cls(learning_rate=0.05, replay_ratio=0.5, memory_size=500)

    @classmethod
    def stable(cls) -> Self:
        """Retention first: a larger memory kept balanced over classes, two replayed rows per fresh one."""
        return cls(
            learning_rate=0.01,
            memory_size=2000,
            replay_ratio=2 / 3,
            insertion="class_balanced",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionConfig(_Settings):
    """How a session keeps what it learned.

    >>> SessionConfig().snapshot_every
    2000
    """

    commit_every: int = _setting(500, "steps per commit of the learner's side", low=1, unit="steps")
    snapshot_every: int = _setting(2000, "steps per snapshot", low=1, unit="steps")
    keep_snapshots: int = _setting(6, "newest snapshots kept, beside the first", low=1)
    journal_max_age: float | None = _setting(None, "bodies older than this may go", low=0.0, unit="seconds")
    journal_max_bytes: int | None = _setting(None, "bodies beyond this may go", low=0, unit="bytes")
    keep_steps: int = _setting(1_000_000, "newest step rows kept", low=1000, unit="steps")
    ingest_rows: int = _setting(1024, "rows acknowledged per durable commit", low=1, high=65536)
    strict: bool = _setting(False, "stop at the first bad row rather than set it aside")
    freeze: str = _setting(
        "wait",
        "a learner that an audit froze waits for a person, or goes back to the last good audit and learns on",
        choices=("wait", "return"),
    )
    contradictions: str = _setting(
        "review",
        "a correction in language that contradicts an approved one goes to",
        choices=("review", "learn"),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeConfig(_Settings):
    """How a learning episode goes, and what bounds it.

    >>> EpisodeConfig().seconds
    1800.0
    """

    rows: int = _setting(1000, "rows learned at most; the others wait", low=1, unit="rows")
    seconds: float = _setting(1800.0, "no step begins after these", low=0.0, unit="seconds")
    memory_bytes: int = _setting(
        8_000_000_000, "no step begins once it took as many more, of RAM or of an accelerator", low=0
    )
    warm: float = _setting(0.1, "share of the steps over which the learning rate rises", low=0.0, high=1.0)
    floor: float = _setting(0.5, "what its cosine leaves of it at the end", low=0.0, high=1.0)
    asked: int = _setting(
        64, "approved rows, and anchors, asked before and after", low=0, high=100_000, unit="rows"
    )
    again: int = _setting(32, "of them, learned again where they are answered wrong", low=0, unit="rows")
    candidates: int = _setting(2, "newest candidates that stay pinned", low=1)


def _declared(cls: Any) -> dict[str, tuple[Any, Limits]]:
    hints = typing.get_type_hints(cls)
    return {f.name: (hints[f.name], f.metadata["limits"]) for f in dataclasses.fields(cls)}


_settings: Callable[[type], dict[str, tuple[Any, Limits]]] = cache(_declared)


def _fits(value: Any, kind: Any) -> bool:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, one) for one in args)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        return len(kinds) == len(value) and all(_fits(v, k) for v, k in zip(value, kinds, strict=True))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def check(name: str, value: Any, kind: Any, limits: Limits) -> None:
    """Return where a value is of its type and within its limits.

    Raises:
        ConfigError: it is not; the message names it and what it must be.
    """
    if not _fits(value, kind):
        wanted = getattr(kind, "__name__", None) if isinstance(kind, type) else str(kind)
        raise ConfigError(f"{name} is {value!r}; it must be {wanted}")
    for one in value if isinstance(value, tuple) else (value,):
        if limits.choices is not None and one not in limits.choices:
            raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(limits.choices)}")
        if isinstance(one, int | float) and not isinstance(one, bool):
            if one < limits.low:
                raise ConfigError(f"{name} is {value!r}; it must be at least {limits.low:g}")
            if one > limits.high:
                raise ConfigError(f"{name} is {value!r}; it must be at most {limits.high:g}")
