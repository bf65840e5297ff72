"""Where a guard looks inside a model: how large each row is behind every layer that has weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def sites(module: nn.Module, wanted: bool) -> Iterator[dict[str, Tensor]]:
    """The root mean square (n,) of each row behind each layer, by the layer's name, of the last forward pass.

    Args:
        wanted: False: nothing is hooked, and nothing found.

    >>> import torch
    >>> with sites(model := nn.Sequential(nn.Identity(), nn.Linear(2, 1, bias=False)), True) as found:
    ...     _ = model[1].weight.data.fill_(1.0)
    ...     _ = model(torch.tensor([[3.0, 0.0], [2.0, 2.0]]))
    >>> found
    {'1': tensor([3., 4.])}
    """
    found: dict[str, Tensor] = {}

    def hook(name: str, outputs: object) -> None:
        if isinstance(outputs, Tensor) and outputs.is_floating_point() and outputs.dim() > 1:
            found[name] = outputs.detach().flatten(1).square().mean(1).sqrt()

    layers = module.named_modules() if wanted else ()
    hooks = [
        part.register_forward_hook(lambda _part, _inputs, outputs, name=name: hook(name, outputs))
        for name, part in layers
        if any(True for _ in part.parameters(recurse=False))
    ]
    try:
        yield found
    finally:
        for one in hooks:
            one.remove()
