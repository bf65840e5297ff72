"""A model with null-space blocks asked in float64, its weights as they are."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from tenuto.adapters.layers import Down, Up


def doubled(model: nn.Module, rows: Tensor) -> Tensor:
    """The outputs of rows, every weight, basis and product in float64."""
    precise = deepcopy(model).double()
    for layer in precise.modules():
        if isinstance(layer, Down):
            layer.basis, layer.frozen = layer.basis.double(), layer.frozen.double()
            layer.beside = ()
        elif isinstance(layer, Up):
            layer.frozen = layer.frozen.double()
    with torch.no_grad():
        outputs: Tensor = precise(rows)
        return outputs
