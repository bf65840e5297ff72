"""What adapted layers read in a forward pass, and what they were told in the backward pass.

The gradient of a whole weight at a site is G = sum_t g_t x_t^T, with g_t that of the layer's output and x_t
its input. It is never written out: P G, for a few fixed rows P of signs, has the same directions, and the
share of |G|^2 that a projection leaves is that of |P G|^2 in expectation (Hutchinson). Unlike the gradients
of A and B it does not vanish where B is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tenuto.errors import ConfigError
from tenuto.randomness import torch_draws

ROWS = 4
"""Rows of P."""


class Reads:
    """Inputs by site, and P G of each row by layer, of the last pass.

    Args:
        sites: the names of the layers at each site.
    """

    def __init__(self, sites: Mapping[str, Sequence[str]]) -> None:
        self._sites = sites
        self._site = {layer: site for site, layers in sites.items() for layer in layers}
        self._first = {layers[0] for layers in sites.values()}
        self.inputs: dict[str, Tensor] = {}
        self._told: dict[str, Tensor] = {}

    def reader(self, layer: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        """A hook that sees what a layer reads. Layers of one site that read different things are refused."""
        site, first = self._site[layer], layer in self._first

        def see(_module: nn.Module, args: tuple[Any, ...]) -> None:
            inputs = args[0].detach()
            if first:
                self.inputs[site] = inputs
            elif not _alike(self.inputs[site], inputs):
                raise ConfigError(
                    f"{layer} reads another input than {self._sites[site][0]}; adapt one of them"
                )

        return see

    def listener(self, layer: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        """A hook that hears the gradient of a layer's output, and keeps of it what `gradient` asks for."""

        def hear(gradient: Tensor) -> None:
            self._told[layer] = gradient @ _signs(gradient.shape[-1]).to(gradient).T

        def listen(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
            if output.requires_grad:
                output.register_hook(hear)  # type: ignore[no-untyped-call]

        return listen

    def rows(self, site: str, rows: slice, kept: Tensor | None = None) -> Tensor:
        """The inputs (k, d) of these rows of the batch at a site; `kept` (n, t): which tokens are there."""
        inputs = self.inputs[site][rows]
        return inputs.flatten(0, -2) if kept is None else inputs[kept[rows]]

    def picked(self, site: str, places: Tensor) -> Tensor:
        """The inputs (k, d) at these places (k,) of a site: token u of row i of (n, t) is i t + u."""
        return self.inputs[site].flatten(0, -2)[places]

    def gradient(self, site: str, rows: slice) -> Tensor:
        """P G (ROWS * layers, d) of these rows of the batch; none where no gradient reached the site."""
        inputs = self.inputs[site][rows].flatten(0, -2)
        found = [self._told[layer][rows] for layer in self._sites[site] if layer in self._told]
        if not found:
            return inputs[:0]
        told = torch.cat(found, -1).flatten(0, -2)
        return told.T @ inputs.to(told)


def _alike(one: Tensor, other: Tensor) -> bool:
    """Are these the same inputs? Where they lie apart their last tokens tell."""
    if one.data_ptr() == other.data_ptr():
        return one.shape == other.shape
    return one.shape == other.shape and torch.equal(one[..., -1, :], other[..., -1, :])


@cache
def _signs(width: int) -> Tensor:
    with torch_draws(0, f"probe:{width}", 0):
        return torch.randint(0, 2, (ROWS, width)).float() * 2 - 1
