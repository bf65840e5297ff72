"""Gradient checkpointing: of each block its input alone is kept, the rest is computed again in the backward.

A forward of n blocks then keeps n inputs and, in the backward, the activations of one block (Chen et al.
2016). The invariant: the gradient is the same bit for bit on a CPU, what the model draws at random included.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tenuto.errors import ConfigError


def checkpointed(base: nn.Module) -> None:
    """Have a model of transformers compute its blocks again wherever a gradient is wanted.

    Raises:
        ConfigError: it has no blocks that can be.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    blocks: list[Any] = [part for part in base.modules() if isinstance(part, GradientCheckpointingLayer)]
    if not blocks:
        raise ConfigError("this model has no blocks that can be computed again: leave checkpointing off")
    for block in blocks:
        block.forward = _Again(block)


class _Again:
    """A block's forward, done twice. (transformers' own switch asks for training mode, so dropout.)"""

    def __init__(self, block: nn.Module) -> None:
        self._block = block

    def __call__(self, *args: Any, **named: Any) -> Any:
        """What the block answers."""
        block: Any = self._block
        forward = type(block).forward
        if not torch.is_grad_enabled() or _replaced(block):
            return forward(block, *args, **named)
        return checkpoint(forward, block, *args, use_reentrant=False, **named)


def _replaced(block: nn.Module) -> bool:
    """Has a functional call other tensors in place of its weights? They are gone when it is done again."""
    return not all(isinstance(one, nn.Parameter) for one in block.parameters())
