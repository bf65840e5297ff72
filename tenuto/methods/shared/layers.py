"""The gradient of each row at a layer's own parameters, from its inputs x and output gradients d.

    a linear layer's is d x^T, so that over rows  sum g^2 = (d^2)^T (x^2)  and  sum |g| = |d|^T |x|

where x and d are vectors; positions of a sequence or an image are added up before the power is taken
(Goodfellow 2015, Rochette et al. 2019). No row needs a backward pass of its own.
"""

from __future__ import annotations

from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto.trees import Tree

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_KNOWN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding, nn.LayerNorm, nn.GroupNorm, *_NORMS)
_BUDGET = 1 << 21
"""Numbers that one block of rows may materialise."""


def known(layer: nn.Module) -> bool:
    """Is there a closed form for this layer as it stands, and not for what was made of it?

    >>> known(nn.Linear(2, 3)), known(nn.LSTM(2, 3)), known(nn.Embedding(3, 2, max_norm=1.0))
    (True, False, False)
    """
    changed = bool(layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer))
    if type(layer) not in _KNOWN or changed:
        return False
    if isinstance(layer, nn.Embedding):
        return layer.max_norm is None and not layer.scale_grad_by_freq and not layer.sparse
    return not isinstance(layer, _NORMS) or layer.running_mean is not None


def factored(layer: nn.Module, x: Tensor) -> bool:
    """Is each row's gradient the outer product of two vectors?"""
    return isinstance(layer, nn.Linear) and x.dim() == 2


def rows(layer: nn.Module, x: Tensor, d: Tensor) -> Tree:
    """The gradient (n, *shape) of each row, by the parameter's name in the layer.

    Args:
        x: inputs (n, ...) in evaluation mode.
        d: the gradient of each row's loss at the layer's outputs (n, ...).

    >>> rows(nn.Linear(1, 1), torch.tensor([[2.0], [3.0]]), torch.ones(2, 1))["weight"].flatten()
    tensor([2., 3.])
    """
    n = d.shape[0]
    if isinstance(layer, nn.Linear):
        x, d = x.reshape(n, -1, x.shape[-1]), d.reshape(n, -1, d.shape[-1])
        return {"weight": d.transpose(1, 2) @ x, "bias": d.sum(1)}
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return _convolved(layer, x, d)
    if isinstance(layer, nn.Embedding):
        where, summed = _looked_up(layer, x, d)
        weight = d.new_zeros(n * layer.num_embeddings, d.shape[-1]).index_copy_(0, where, summed)
        return {"weight": weight.view(n, layer.num_embeddings, -1)}
    if isinstance(layer, nn.LayerNorm):
        shape = list(layer.normalized_shape)
        x = F.layer_norm(x, shape, eps=layer.eps)
        return {name: g.reshape(n, -1, *shape).sum(1) for name, g in (("weight", d * x), ("bias", d))}
    if isinstance(layer, nn.GroupNorm):
        x = F.group_norm(x, layer.num_groups, eps=layer.eps)
    else:
        norm = cast(nn.BatchNorm1d, layer)
        x = F.batch_norm(x, norm.running_mean, norm.running_var, eps=norm.eps)
    return {name: g.reshape(n, g.shape[1], -1).sum(2) for name, g in (("weight", d * x), ("bias", d))}


def total(layer: nn.Module, x: Tensor, d: Tensor, power: int) -> Tree:
    """The sum over rows of |g|^power, power 1 or 2, by the parameter's name in the layer.

    >>> total(nn.Linear(1, 1), torch.tensor([[2.0], [3.0]]), torch.ones(2, 1), 2)["weight"]
    tensor([[13.]])
    """
    if factored(layer, x):
        x, d = raised(x, power), raised(d, power)
        return {"weight": d.T @ x, "bias": d.sum(0)}
    if isinstance(layer, nn.Embedding):
        where, summed = _looked_up(layer, x, d)
        empty = d.new_zeros(layer.num_embeddings, d.shape[-1])
        return {"weight": empty.index_add_(0, where % layer.num_embeddings, raised(summed, power))}
    block = max(1, _BUDGET // _cost(layer, x, d))
    found: Tree = {}
    for xs, ds in zip(torch.split(x, block), torch.split(d, block), strict=True):
        for name, g in rows(layer, xs, ds).items():
            summed = raised(g, power).sum(0)
            found[name] = found[name] + summed if name in found else summed
    return found


def raised(g: Tensor, power: int) -> Tensor:
    """|g|^power, power 1 or 2."""
    return g.square() if power == 2 else g.abs()


def _cost(layer: nn.Module, x: Tensor, d: Tensor) -> int:
    """Numbers that a row materialises."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return max(layer.weight.numel(), x.shape[1] * prod(layer.kernel_size) * d[0, 0].numel())
    if isinstance(layer, nn.Linear):
        return max(layer.weight.numel(), x[0].numel(), d[0].numel())
    return max(1, x[0].numel())


def _convolved(layer: nn.Conv1d | nn.Conv2d, x: Tensor, d: Tensor) -> Tree:
    n, groups, kernel = d.shape[0], layer.groups, tuple(layer.kernel_size)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x, stride, dilation = F.pad(x, _padding(layer), mode=mode), tuple(layer.stride), tuple(layer.dilation)
    if x.dim() == 3:
        x, kernel, stride, dilation = x.unsqueeze(2), (1, *kernel), (1, *stride), (1, *dilation)
    patches = F.unfold(x, kernel, dilation=dilation, stride=stride)
    patches = patches.view(n, groups, -1, patches.shape[-1])
    d = d.reshape(n, groups, layer.out_channels // groups, -1)
    weight = (d @ patches.transpose(2, 3)).reshape(n, *layer.weight.shape)
    return {"weight": weight, "bias": d.sum(3).flatten(1)}


def _padding(layer: nn.Conv1d | nn.Conv2d) -> list[int]:
    """What is put before and behind each dimension, the last one first, as `F.pad` takes it."""
    pads: list[int] = []
    for i in reversed(range(len(layer.kernel_size))):
        if isinstance(layer.padding, str):
            whole = layer.dilation[i] * (layer.kernel_size[i] - 1) if layer.padding == "same" else 0
            pads += [whole // 2, whole - whole // 2]
        else:
            pads += [layer.padding[i]] * 2
    return pads


def _looked_up(layer: nn.Embedding, x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Each distinct (row, token) as row * tokens + token, and its gradient summed over positions."""
    n, tokens = x.shape[0], layer.num_embeddings
    x, d = x.reshape(n, -1), d.reshape(-1, d.shape[-1])
    if layer.padding_idx is not None:
        d = d * (x.reshape(-1, 1) != layer.padding_idx)
    pairs = x + tokens * torch.arange(n, device=x.device)[:, None]
    where, slots = torch.unique(pairs, return_inverse=True)
    return where, d.new_zeros(len(where), d.shape[1]).index_add_(0, slots.flatten(), d)
