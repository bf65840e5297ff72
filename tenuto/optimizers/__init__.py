"""Optimizers that propose a move first and commit it only when it was kept."""

from __future__ import annotations

from collections.abc import Callable

from torch.nn import Parameter
from torch.optim import Optimizer as TorchOptimizer

from tenuto.config import OnlineLearnerConfig
from tenuto.optimizers.adamw import AdamW
from tenuto.optimizers.sgd import SGD
from tenuto.optimizers.wrapped import Wrapped
from tenuto.protocols import Optimizer

__all__ = ["SGD", "AdamW", "Factory", "Wrapped", "make"]

Factory = Callable[[list[Parameter]], TorchOptimizer]


def make(config: OnlineLearnerConfig, factory: Factory | None = None) -> Optimizer:
    """The optimizer a config names, or a torch optimizer made by `factory`."""
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
