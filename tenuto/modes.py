"""A module's modes: evaluation inside a block, each layer's own after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn import Module
from torch.nn.modules.dropout import _DropoutNd


@contextmanager
def evaluating(module: Module) -> Iterator[None]:
    """Every layer in evaluation mode inside, in its own mode again after.

    >>> import torch
    >>> layer = torch.nn.Dropout()
    >>> with evaluating(layer):
    ...     layer.training
    False
    >>> layer.training
    True
    """
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def dropping(module: Module) -> Iterator[bool]:
    """Dropout alone in training mode inside, each layer in its own mode again after; is there any?

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout()).eval()
    >>> with dropping(net) as masks:
    ...     masks, net[0].training, net[1].training
    (True, False, True)
    >>> net[1].training
    False
    """
    layers = [part for part in module.modules() if isinstance(part, _DropoutNd)]
    before = [part.training for part in layers]
    with evaluating(module):
        try:
            for part in layers:
                part.training = True
            yield bool(layers)
        finally:
            for part, training in zip(layers, before, strict=True):
                part.training = training
