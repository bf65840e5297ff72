"""Optimizers that propose a move first and commit it only when it was kept."""

from __future__ import annotations

from collections.abc import Callable

from torch.nn import Parameter
from torch.optim import Optimizer as TorchOptimizer

from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError
from tenuto.optimizers.accumulated import Accumulated
from tenuto.optimizers.adamw import AdamW
from tenuto.optimizers.apart import Apart
from tenuto.optimizers.sgd import SGD
from tenuto.optimizers.wrapped import Wrapped
from tenuto.protocols import Optimizer

__all__ = ["SGD", "Apart", "Accumulated", "AdamW", "Factory", "Wrapped", "make"]

Factory = Callable[[list[Parameter]], TorchOptimizer]


def make(
    config: OnlineLearnerConfig,
    factory: Factory | None = None,
    *,
    group: Callable[[str], str] | None = None,
) -> Optimizer:
    """The optimizer a config names, or a torch optimizer made by `factory`; it may gather several steps.

    Args:
        group: the group of a parameter by its name, where each is to have an optimizer of its own.

    Raises:
        ConfigError: groups are to gather several steps, which they do not make together.
    """
    if group is not None:
        if config.accumulate > 1:
            raise ConfigError(
                f"accumulate is {config.accumulate}; experts do not rest in the same steps: leave it at 1"
            )
        return Apart(lambda: _made(config, factory), group)
    made = _made(config, factory)
    return made if config.accumulate == 1 else Accumulated(made, config.accumulate)


def _made(config: OnlineLearnerConfig, factory: Factory | None) -> Optimizer:
    if factory is not None:
        return Wrapped(factory)
    if config.optimizer == "adamw":
        return AdamW(
            learning_rate=config.learning_rate,
            betas=config.betas,
            eps=config.eps,
            weight_decay=config.weight_decay,
        )
    return SGD(learning_rate=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)
