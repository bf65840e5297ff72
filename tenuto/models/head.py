"""The output layer, and how it gains columns.

A new class gets a row of weights drawn under its own key, so that which rows it starts from does
not depend on when it appeared or beside whom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tenuto.errors import ConfigError
from tenuto.randomness import torch_draws
from tenuto.types import Label


class Head:
    """The layer named by `name`, else the last Linear of the module.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> head = Head(net)
    >>> head.name, head.width
    ('2', 2)
    >>> head.grow(["cat"], seed=0); head.width
    3
    """

    def __init__(self, module: nn.Module, name: str | None = None) -> None:
        layers = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear)}
        if name is None and not layers:
            raise ConfigError("the model has no Linear layer to use as its head; name one with head_layer=")
        if name is not None and name not in layers:
            raise ConfigError(
                f"head_layer {name!r} is not a Linear layer of the model; those are: {', '.join(layers)}"
            )
        self.name = name if name is not None else list(layers)[-1]
        self.layer = layers[self.name]
        weights = module.named_parameters(remove_duplicate=False)
        self.own = sum(weight is self.layer.weight for _, weight in weights) == 1

    @property
    def width(self) -> int:
        """How many columns the outputs have."""
        return self.layer.out_features

    def grow(self, labels: Sequence[Label], seed: int) -> None:
        """Append one output per label, drawn as torch draws a Linear layer."""
        bound = 1 / math.sqrt(self.layer.in_features)
        weight: Tensor = self.layer.weight
        bias: Tensor | None = self.layer.bias
        for label in labels:
            with torch_draws(seed, f"head:{label!r}", 0):
                row = torch.empty(1, self.layer.in_features).uniform_(-bound, bound)
                shift = torch.empty(1).uniform_(-bound, bound)
            weight = torch.cat([weight.detach(), row.to(weight)])
            bias = torch.cat([bias.detach(), shift.to(bias)]) if bias is not None else None
        self._put(weight, bias)

    def resize(self, width: int) -> None:
        """Cut to `width` outputs, or append zero ones: the shape a saved state needs."""
        weight, bias = self.layer.weight.detach(), self.layer.bias
        fitted = weight.new_zeros(width, weight.shape[1])
        fitted[: len(weight)] = weight[:width]
        shift = None
        if bias is not None:
            shift = bias.detach().new_zeros(width)
            shift[: len(bias)] = bias.detach()[:width]
        self._put(fitted, shift)

    def _put(self, weight: Tensor, bias: Tensor | None) -> None:
        trainable = self.layer.weight.requires_grad
        self.layer.weight = nn.Parameter(weight.detach(), requires_grad=trainable)
        if bias is not None:
            self.layer.bias = nn.Parameter(bias.detach(), requires_grad=trainable)
        self.layer.out_features = len(weight)
