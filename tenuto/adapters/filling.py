"""Filling: outputs of adapters that know fewer answers, made as wide as those of the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def filled(outputs: Tensor, shape: Sequence[int]) -> Tensor:
    """Outputs (n, c) with each row's least in columns beyond; (n, l, v) with zeros behind the last token.

    >>> filled(torch.tensor([[2.0, 1.0]]), [3])
    tensor([[2., 1., 1.]])
    """
    if list(outputs.shape[1:]) == list(shape):
        return outputs
    if outputs.dim() == 2:
        least = outputs.amin(1, keepdim=True)
        return torch.cat([outputs, least.expand(-1, shape[0] - outputs.shape[1])], 1)
    longer = outputs.new_zeros(len(outputs), *shape)
    longer[:, : outputs.shape[1]] = outputs
    return longer
