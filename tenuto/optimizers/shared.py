"""Moments that follow their parameters when a head grows."""

from __future__ import annotations

from torch import Tensor

from tenuto.trees import Tree


def fit(moment: Tensor, parameter: Tensor) -> Tensor:
    """`moment` with zero rows appended (or rows dropped) along dim 0 to the parameter's shape.

    >>> import torch
    >>> fit(torch.ones(1, 2), torch.zeros(2, 2)).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    if moment.shape == parameter.shape:
        return moment
    grown = moment.new_zeros(parameter.shape)
    rows = min(moment.shape[0], parameter.shape[0])
    grown[:rows] = moment[:rows]
    return grown


def follow(moments: Tree, params: Tree) -> Tree:
    """A moment for every parameter, each of its parameter's shape; new ones are zero."""
    return {
        name: fit(moments[name], p) if name in moments else p.new_zeros(p.shape, requires_grad=False)
        for name, p in params.items()
    }
