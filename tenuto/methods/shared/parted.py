"""Where there is no room for a batch: its rows in halves, in halves of these, and so on down to one by one.

    dL/dw = sum over parts p of (d outputs_p / dw)^T dL/d outputs_p

The loss is a function of all outputs, whatever its terms divide by. So the outputs are found part by part
with nothing kept for a backward, the loss and its gradient there are those of the whole batch, and each part
is computed again and takes its share of that gradient back (Gao et al. 2021): any sum of terms, to rounding,
for one forward more. The invariant: what the model draws at random it draws again, and where there is no room
for a single row nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import pad

from tenuto import trees
from tenuto.errors import OutOfMemory
from tenuto.protocols import Objective
from tenuto.trees import Tree
from tenuto.types import Batch, Estimate


def answered(answer: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Answers to rows (n, *shape), all at once, or, where there is no room, in parts.

    Raises:
        torch.OutOfMemoryError: there is none for a single row.

    >>> answered(lambda rows: 2 * rows, torch.ones(3, 1)).tolist()
    [[2.0], [2.0], [2.0]]
    """
    size = len(inputs)
    while size > 1:
        try:
            return joined([answer(rows) for rows in torch.split(inputs, size)])
        except torch.OutOfMemoryError:
            size = -(-size // 2)
    return joined([answer(rows) for rows in torch.split(inputs, 1)])


def joined(found: Sequence[Tensor]) -> Tensor:
    """Outputs of parts as those of the whole: (n, c), or (n, l, v) with zeros behind the last token.

    >>> joined([torch.ones(1, 1, 2), torch.ones(1, 2, 2)])[:, 1].tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    if found[0].dim() == 3:
        most = max(part.shape[1] for part in found)
        found = [pad(part, (0, 0, 0, most - part.shape[1])) for part in found]
    return torch.cat(list(found))


def parted(objective: Objective, params: Tree, batch: Batch, by: float = 1.0) -> Estimate:
    """The estimate of a batch that did not fit, in the fewest parts that do; `.grad` is left empty.

    Args:
        by: what gradients are multiplied with.

    Raises:
        OutOfMemory: not even single rows fit, or the model may not be asked in parts.
    """
    size = len(batch)
    while size > 1:
        size = -(-size // 2)
        try:
            return _estimate(objective, params, batch, size, by)
        except torch.OutOfMemoryError:
            clear(params)
    raise OutOfMemory(
        f"the update on {len(batch)} rows does not fit into memory, even read row by row; nothing has "
        "changed: shorten rows, turn checkpointing on, or take a smaller model"
    )


def _estimate(objective: Objective, params: Tree, batch: Batch, size: int, by: float) -> Estimate:
    rows = torch.split(batch.inputs, size)
    before, states, found = _buffers(objective.module), [], []
    with torch.no_grad():
        for part in rows:
            states.append(_generators(part))
            found.append(objective.outputs(params, part))
    if any(
        not torch.equal(one, other) for one, other in zip(before, _buffers(objective.module), strict=True)
    ):
        raise OutOfMemory(
            f"the update on {len(batch)} rows does not fit into memory, and the model's buffers move with "
            "each batch (as BatchNorm's do), so that it cannot be read in parts: learn fewer rows at once"
        )
    outputs = joined(found).requires_grad_()
    loss = objective.loss(batch, outputs)
    (onto,) = torch.autograd.grad(loss if by == 1.0 else loss * by, outputs, materialize_grads=True)
    clear(params)
    for part, state, share in zip(rows, states, torch.split(onto, size), strict=True):
        _restore(state, part)
        again = objective.outputs(params, part)
        torch.autograd.backward(again, share[:, : again.shape[1]])
    return Estimate(loss.detach(), outputs.detach(), taken(params), parts=len(rows))


def taken(params: Tree) -> Tree:
    """The gradients that a backward left, zero where it left none; `.grad` is empty then."""
    grads = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in params.items()}
    clear(params)
    return grads


def clear(params: Tree) -> None:
    """Leave `.grad` empty."""
    for parameter in params.values():
        parameter.grad = None


def _buffers(module: Module) -> list[Tensor]:
    return trees.leaves(trees.copy(dict(module.named_buffers())))


def _generators(rows: Tensor) -> list[Tensor]:
    """The states of what a model may draw from."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(rows.device)] if rows.is_cuda else states


def _restore(states: list[Tensor], rows: Tensor) -> None:
    torch.set_rng_state(states[0])
    if rows.is_cuda:
        torch.cuda.set_rng_state(states[1], rows.device)
