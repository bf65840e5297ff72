"""Attention in half precision on a CPU, in torch's plain matrix products, backward too.

    S = softmax(s Q K^T + mask),    O = S V
    dV = S^T dO,    dZ = S * (dO V^T - rowsum(dO V^T * S)),    dQ = s dZ K,    dK = s dZ^T Q

torch's fused one takes ten times as long backward there. Queries that share a key are rows of one product, so
that no key is repeated; softmax and its gradient are in float32.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NAME = "tenuto"


def offer(kind: type) -> str:
    """Its name in transformers, where this is what models of a class ask for; else that of their own.

    A model asks for it where its own attention is Llama's, instruction by instruction; others cap, bias or
    window what they add up.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask
    from transformers.models.llama import modeling_llama

    own = getattr(sys.modules[kind.__module__], "eager_attention_forward", None)
    if own is None or _told(own) != _told(modeling_llama.eager_attention_forward):
        return "eager"
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, eager_mask)
    return NAME


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Outputs (n, h, t, d) of queries (n, h, t, d) for keys and values (n, g, s, d), g a divisor of h.

    Args:
        mask: (n, 1, t, s), added to the products; None: nothing is.
        scale: of the products.

    >>> one = torch.eye(2).view(1, 1, 2, 2)
    >>> attention(one, one, one, None, scale=0.0)[0, 0]
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    apply: Any = _Attention.apply
    outputs: Tensor = apply(query, key, value, mask, scale)
    return outputs


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor:
        n, heads, t, _ = query.shape
        keys, values = key.flatten(0, 1), value.flatten(0, 1)
        queries = query.reshape(len(keys), -1, query.shape[3])
        weights = torch.bmm(queries, keys.transpose(1, 2)).float().mul_(scale).view(n, heads, t, -1)
        if mask is not None:
            weights += mask
        shares = weights.softmax(-1).to(query.dtype).view(len(keys), -1, key.shape[2])
        ctx.save_for_backward(queries, keys, values, shares)
        ctx.scale, ctx.shapes = scale, (query.shape, key.shape, value.shape)
        return torch.bmm(shares, values).view(n, heads, t, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        queries, keys, values, shares = ctx.saved_tensors
        grads = grads.reshape(len(keys), -1, values.shape[2])
        move, share = torch.bmm(grads, values.transpose(1, 2)).float(), shares.float()
        move *= share
        move.addcmul_(share, move.sum(-1, keepdim=True), value=-1)
        moves = move.mul_(ctx.scale).to(grads.dtype)
        found = (
            torch.bmm(moves, keys),
            torch.bmm(moves.transpose(1, 2), queries),
            torch.bmm(shares.transpose(1, 2), grads),
        )
        query, key, value = (one.view(shape) for one, shape in zip(found, ctx.shapes, strict=True))
        return query, key, value, None, None


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it."""
    outputs = attention(query, key, value, attention_mask, scaling)
    return outputs.transpose(1, 2).contiguous(), None


def _told(function: Any) -> tuple[Any, ...]:
    code = function.__code__
    return code.co_code, code.co_names, code.co_consts
