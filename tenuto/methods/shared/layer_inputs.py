"""What each layer reads: the inputs of every Linear and Conv layer that a batch runs through.

A layer answers x with W x + b = [W b] [x 1]^T, a convolution so for every patch of its input. The rows
handed back are [x 1] (x alone where no bias is trained), or, where there are more rows than columns, the
triangle R of their QR decomposition, which has the same span and the same energies: R^T R = X^T X.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto.modes import evaluating
from tenuto.protocols import View
from tenuto.randomness import torch_draws
from tenuto.types import Batch

CHUNK = 64
"""Rows in one forward pass: patches of many rows at once need much memory."""

Conv = nn.Conv1d | nn.Conv2d


@dataclass(slots=True)
class Layer:
    """The inputs (n, d) of a layer in float64, and the names of the parameters that read them."""

    weight: str
    bias: str | None
    inputs: Tensor

    def take(self, rows: Tensor) -> None:
        """More inputs (n, d)."""
        self.inputs = torch.cat([self.inputs, rows])
        if len(self.inputs) > self.inputs.shape[1]:
            self.inputs = torch.linalg.qr(self.inputs, mode="r")[1]


def layer_inputs(view: View, batch: Batch) -> list[Layer]:
    """Every layer with a trained weight that the batch runs through, in the order in which they run.

    The module runs in evaluation mode; each row counts by its weight. A layer that a batch runs through
    twice reads both inputs. Modes, parameters and buffers are left as they were.
    """
    found: dict[str, Layer] = {}
    roots: list[Tensor] = []
    trained = {id(parameter): name for name, parameter in view.params.items()}

    def reads(weight: str, bias: str | None) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = _rows(module, inputs[0].detach(), roots[0], bias is not None)
            found.setdefault(weight, Layer(weight, bias, rows[:0])).take(rows)

        return note

    hooks = []
    for module in view.module.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d) and id(module.weight) in trained:
            bias = None if module.bias is None else trained.get(id(module.bias))
            hooks.append(module.register_forward_pre_hook(reads(trained[id(module.weight)], bias)))
    try:
        with evaluating(view.module), torch.no_grad(), torch_draws(view.seed, "layer_inputs", view.number):
            for start in range(0, len(batch), CHUNK):
                some = slice(start, start + CHUNK)
                weights = torch.ones(len(batch)) if batch.weights is None else batch.weights
                roots[:] = [weights[some].sqrt().cpu().double()]
                view.module(batch.inputs[some])
    finally:
        for hook in hooks:
            hook.remove()
    return list(found.values())


def _rows(module: nn.Module, inputs: Tensor, roots: Tensor, bias: bool) -> Tensor:
    """Inputs or patches (n, d) in float64, with a column of ones for the bias, times `roots`."""
    rows = patches(module, inputs) if isinstance(module, nn.Conv1d | nn.Conv2d) else inputs
    per_row = rows.shape[:-1].numel() // len(roots)
    flat = rows.reshape(-1, rows.shape[-1]).cpu().double()
    if bias:
        flat = torch.cat([flat, torch.ones(len(flat), 1, dtype=flat.dtype)], 1)
    return flat * roots.repeat_interleave(per_row)[:, None]


def patches(module: Conv, inputs: Tensor) -> Tensor:
    """The patches (n, groups * positions, d) that a convolution multiplies with its weight (out, d).

    >>> patches(nn.Conv2d(3, 5, kernel_size=2), torch.zeros(1, 3, 4, 4)).shape
    torch.Size([1, 9, 12])
    """
    if isinstance(module, nn.Conv1d):
        inputs = inputs[:, :, None]
    inputs = F.pad(
        inputs, _padding(module), "constant" if module.padding_mode == "zeros" else module.padding_mode
    )
    spread = [
        (1, *size) if isinstance(module, nn.Conv1d) else size
        for size in (module.kernel_size, module.dilation, module.stride)
    ]
    kernel, dilation, stride = spread
    columns = F.unfold(inputs, kernel, dilation=dilation, stride=stride)
    n, _, positions = columns.shape
    return (
        columns.view(n, module.groups, -1, positions)
        .transpose(2, 3)
        .reshape(n, module.groups * positions, -1)
    )


def _padding(module: Conv) -> list[int]:
    """As F.pad takes it: the last dimension first, two numbers for each."""
    pads: list[int] = []
    for axis in reversed(range(len(module.kernel_size))):
        if module.padding == "same":
            total = module.dilation[axis] * (module.kernel_size[axis] - 1)
            pads += [total // 2, total - total // 2]
        else:
            pads += [0 if isinstance(module.padding, str) else module.padding[axis]] * 2
    return pads + [0] * (4 - len(pads))
