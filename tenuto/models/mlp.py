"""The default model: a multilayer perceptron on rows it standardises itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

LEAST, ROUNDING = 1e-6, 4e-7
"""A smaller deviation is none: as a number; as a share of the mean, of which rounding alone makes 2e-7."""


class Standardize(nn.Module):
    """Centre and scale each feature by its running moments (Welford 1962), clipped to +-`clip`.

    One that never changed is divided by 1, or by its own size where that is more. The moments move in
    training mode only and live in buffers, so they are saved and rolled back with the model.
    In: (n, *shape). Out: the same shape.

    >>> layer = Standardize(1)
    >>> layer(torch.tensor([[0.0], [2.0]])).round(decimals=3).tolist()
    [[-1.0], [1.0]]
    """

    count: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, features: int, clip: float = 5.0) -> None:
        super().__init__()
        self.clip = clip
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.zeros(features))

    def forward(self, rows: Tensor) -> Tensor:
        """Standardise (n, features) rows."""
        if self.training:
            self._update(rows.detach())
        scale = (self.spread / self.count.clamp(min=1)).sqrt()
        size = self.mean.abs()
        scale = torch.where(scale > (ROUNDING * size).clamp(min=LEAST), scale, size.clamp(min=1.0))
        scaled = (rows - self.mean) / scale
        return scaled.clamp(-self.clip, self.clip)

    def _update(self, rows: Tensor) -> None:
        n = rows.shape[0]
        mean = rows.mean(0)
        delta = mean - self.mean
        count = self.count + n
        self.spread += (rows - mean).square().sum(0) + delta.square() * (self.count * n / count)
        self.mean += delta * (n / count)
        self.count.copy_(count)


class MLP(nn.Module):
    """Linear layers with ReLU between them, Xavier weights (Glorot & Bengio 2010), zero biases.

    In: (n, *shape), flattened to (n, inputs). Out: (n, outputs). `outputs=0` makes an empty head,
    to be grown as classes appear.

    >>> MLP(4, (8,), 3)(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int] = (256, 256), outputs: int = 0, *, standardize: bool = False
    ) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        self.standardize = Standardize(inputs) if standardize else nn.Identity()
        self.body = nn.Sequential(
            *(layer for a, b in itertools.pairwise(widths) for layer in (_xavier(a, b), nn.ReLU()))
        )
        self.head = _xavier(widths[-1], max(outputs, 1))
        if outputs == 0:
            self.head.weight = nn.Parameter(self.head.weight.detach()[:0])
            self.head.bias = nn.Parameter(self.head.bias.detach()[:0])
            self.head.out_features = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, outputs) of rows (n, *shape)."""
        outputs: Tensor = self.head(self.body(self.standardize(inputs.flatten(1))))
        return outputs


def default(shape: Sequence[int], hidden: Sequence[int], outputs: int) -> MLP:
    """The model a learner makes when it was given none, for rows of `shape`.

    >>> default((2, 2), (8,), 1).head.in_features
    8
    """
    return MLP(math.prod(shape), hidden, outputs, standardize=True)


def _xavier(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
