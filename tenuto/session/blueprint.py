"""What a home was made with, and whether what is given now agrees with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from torch import nn

from tenuto import methods, trees
from tenuto.assembled import CHANGEABLE
from tenuto.config import OnlineLearnerConfig, SessionConfig
from tenuto.errors import ConfigError, HomeMissing
from tenuto.learner import Learner
from tenuto.models import spec
from tenuto.models.bases.places import find
from tenuto.session import spoken
from tenuto.store.disk import Disk
from tenuto.store.home import Home
from tenuto.trees import Tree


@dataclass(frozen=True, kw_only=True, slots=True)
class Blueprint:
    """The learner a home holds, as plain data.

    Args:
        model: a model's name, or the class of a module that must be passed in.
        config, method, options: the learner's.
        settings: how the home is kept.
        weights: digest of the weights the learner begins from; None: its own.
        base: digest of the language model that `model` names; None: it names none.
    """

    model: str
    config: OnlineLearnerConfig
    method: str
    options: Mapping[str, Any]
    settings: SessionConfig
    weights: str | None = None
    base: str | None = None

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """From plain data."""
        return cls(
            model=plain["model"],
            config=OnlineLearnerConfig.of(plain["config"]),
            method=plain["method"],
            options=plain["options"],
            settings=SessionConfig.of(plain["settings"]),
            weights=plain.get("weights"),
            base=plain.get("base"),
        )

    def to_plain(self) -> dict[str, Any]:
        """As plain data."""
        made = {
            "model": self.model,
            "config": self.config.to_plain(),
            "method": self.method,
            "options": dict(self.options),
            "settings": self.settings.to_plain(),
        }
        digests = {"weights": self.weights, "base": self.base}
        return made | {name: digest for name, digest in digests.items() if digest is not None}

    def sized(self, config: OnlineLearnerConfig) -> dict[str, Any]:
        """Settings as plain data, with the method's own rows of memory where they name none."""
        rows = config.memory_size or methods.load(self.method, self.options).capacity
        return {**config.to_plain(), "memory_size": rows}

    def maker(self, model: nn.Module | str | None) -> Callable[[], Learner]:
        """Makes the learner of this home, before its first row.

        Raises:
            ConfigError: the home holds a module of the user's, and none was passed in.
        """
        if not isinstance(model, nn.Module) and self.model.startswith("module "):
            raise ConfigError(f"this home learns {self.model}: pass that module when opening it")

        given = model if isinstance(model, nn.Module) else None
        if given is None and spoken.speaks(self.model):
            given, _ = spoken.load(self.model, self.config, self.base)

        def make() -> Learner:
            module, config = spec.load(self.model, self.config) if given is None else (given, self.config)
            return Learner(module, config, method=self.method, options=self.options)

        return make


def name(model: nn.Module | str | None) -> str:
    """A model as a blueprint names it.

    >>> name(None), name("mlp:32"), name(nn.Linear(1, 1))
    ('mlp', 'mlp:32', 'module torch.nn.modules.linear.Linear')
    """
    if isinstance(model, nn.Module):
        return f"module {type(model).__module__}.{type(model).__qualname__}"
    return model or "mlp"


def agree(
    path: str | Path,
    model: nn.Module | str | None,
    config: OnlineLearnerConfig | Mapping[str, Any] | None,
    method: str | None,
    options: Mapping[str, Any] | None,
    settings: SessionConfig | Mapping[str, Any] | None,
    weights: Tree | None = None,
    *,
    vfs: str | None = None,
    disk: Disk | None = None,
) -> tuple[Home, Blueprint]:
    """Open the home at `path`, or make it; its blueprint, with the settings given now.

    Raises:
        ConfigError: the home was made with another model, method or setting that cannot change.
    """
    try:
        home = Home.open(path, vfs=vfs, disk=disk)
    except HomeMissing:
        words = not isinstance(model, nn.Module) and spoken.speaks(name(model))
        if words and method is None:
            method, options = spoken.METHOD, spoken.OPTIONS if options is None else options
        preset = spoken.settings(method or "er", options) if words else {}
        wanted = Blueprint(
            model=name(model),
            config=OnlineLearnerConfig.of({**preset, **plain(config)}),
            method=methods.load(method or "er", options).name,
            options=options or {},
            settings=SessionConfig.of(plain(settings)),
            weights=None if weights is None else trees.digest(weights),
            base=find(name(model)).digest if words else None,
        )
        make = wanted.maker(model)
        if not words:
            begun(make, weights)
        return Home.create(path, config=wanted.to_plain(), vfs=vfs, disk=disk), wanted
    try:
        made = Blueprint.of(home.config)
        given = {
            "model": None if model is None else name(model),
            "method": None if method is None else methods.load(method, options).name,
            "options": options,
            "weights": None if weights is None else trees.digest(weights),
        }
        for part, value in given.items():
            if value is not None:
                _same(path, part, getattr(made, part), value)
        if made.weights is not None and weights is None and not home.snapshots.list():
            raise ConfigError(f"the home at {path} was left before it began: give its weights again")
        mine, other = made.sized(made.config), made.sized(made.config.but(plain(config)))
        for part, value in other.items():
            if part not in CHANGEABLE:
                _same(path, part, mine[part], value)
        kept = made.settings.but(plain(settings))
        if kept != made.settings:
            made = replace(made, settings=kept)
            home.ledger.configure(made.to_plain())
        return home, made
    except BaseException:
        home.close()
        raise


def begun(make: Callable[[], Learner], weights: Tree | None) -> Learner:
    """A learner before its first row, with the weights it begins from."""
    learner = make()
    if weights is not None:
        learner.warm_start(weights)
    return spoken.anchor(learner)


def plain(config: OnlineLearnerConfig | SessionConfig | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The settings given, as plain data.

    >>> plain(None), plain({"batch_size": 4}), len(plain(SessionConfig()))
    ({}, {'batch_size': 4}, 10)
    """
    if config is None or isinstance(config, Mapping):
        return config or {}
    return config.to_plain()


def _same(path: str | Path, part: str, made: Any, given: Any) -> None:
    if made != given:
        raise ConfigError(
            f"the home at {path} was made with {part} {made!r}, not {given!r}: "
            "leave the option out, or choose another home"
        )
