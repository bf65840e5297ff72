"""Gradients of single rows, exactly, from one forward and one backward over all of them.

Hooks note the inputs x and the outputs of every layer of a known kind; one backward of the summed rows'
losses gives d, and layers.py the rest. A parameter that is read more than once in the forward (tied
weights, a layer called twice), that belongs to an unknown layer, or whose layer does not keep one row
per row, takes a loop of single rows instead: that parameter alone.

The invariant: evaluation mode throughout; modes, hooks, buffers and generators are as they were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto.errors import ConfigError
from tenuto.methods.shared import layers
from tenuto.modes import evaluating
from tenuto.protocols import Objective
from tenuto.randomness import torch_draws
from tenuto.trees import Tree
from tenuto.types import Batch

Losses = Callable[[Tensor, slice], Iterable[Tensor]]
"""One or more losses (k,) of k consecutive rows, from their outputs (k, c) and where the rows lie."""
_BLOCK = 256
"""Rows in one forward."""


class Site(NamedTuple):
    """A layer of a forward: the full names of its trainable parameters, its inputs and outputs."""

    layer: nn.Module
    names: dict[str, str]
    x: Tensor
    y: Tensor


class Pass(NamedTuple):
    """A forward over some rows: where there are closed forms, and the parameters without one."""

    outputs: Tensor
    sites: list[Site]
    looped: list[str]

    def gradients(self, losses: Tensor) -> list[Tensor]:
        """The gradient of each row's loss at the outputs of each site."""
        ys = [site.y for site in self.sites]
        return list(torch.autograd.grad(losses.sum(), ys, retain_graph=True)) if ys else []


def sums(objective: Objective, params: Tree, inputs: Tensor, losses: Losses, *, power: int) -> Tree:
    """The sum over rows, and over several losses of a row, of |gradient|^power.

    Args:
        inputs: rows (n, *shape) as the module reads them.
        losses: what to differentiate; each loss it gives is one backward.
        power: 1 or 2.

    Raises:
        ConfigError: the model normalises over the batch even in evaluation mode.
    """
    found = {name: torch.zeros_like(p, requires_grad=False) for name, p in params.items()}
    with _asking(objective.module):
        forward = _Forward(objective, params)
        for start in range(0, len(inputs), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(inputs)))
            seen = forward(inputs[rows])
            for loss in losses(seen.outputs, rows):
                for site, d in zip(seen.sites, seen.gradients(loss), strict=True):
                    sizes = layers.total(site.layer, site.x, d, power)
                    for own, name in site.names.items():
                        found[name] += sizes[own]
            for _, row in _singly(objective, params, inputs, losses, seen.looped, rows):
                for name, g in zip(seen.looped, row, strict=True):
                    found[name] += layers.raised(g, power)
    return found


def gradients(objective: Objective, params: Tree, batch: Batch) -> Tensor:
    """The gradient (n, parameters) of each row's loss times its weight, flat in the tree's order."""
    n, ends, end = len(batch), {}, 0
    for name, p in params.items():
        ends[name] = slice(end, end := end + p.numel())
    with _asking(objective.module):
        seen = _Forward(objective, params)(batch.inputs)
        losses, everything = supervised(objective, batch), slice(0, n)
        (loss,) = losses(seen.outputs, everything)
        found = seen.outputs.new_zeros(n, end).detach()
        for site, d in zip(seen.sites, seen.gradients(loss), strict=True):
            rows = layers.rows(site.layer, site.x, d)
            for own, name in site.names.items():
                found[:, ends[name]] = rows[own].flatten(1)
        for i, row in _singly(objective, params, batch.inputs, losses, seen.looped, everything):
            for name, g in zip(seen.looped, row, strict=True):
                found[i, ends[name]] = g.flatten()
    return found


def cosines(objective: Objective, params: Tree, mine: Batch, others: Batch) -> Tensor:
    """The cosine (n, k) between the gradient of each of my n rows and of each of k others.

    In linear layers on vectors <d x^T, d' x'^T> = <x, x'> <d, d'>: no gradient is ever made.
    """
    n = len(mine)
    joined = Batch(torch.cat([mine.inputs, others.inputs]), torch.cat([mine.targets, others.targets]))
    with _asking(objective.module):
        seen = _Forward(objective, params)(joined.inputs)
        if not seen.looped and all(layers.factored(site.layer, site.x) for site in seen.sites):
            (losses,) = supervised(objective, joined)(seen.outputs, slice(0, len(joined)))
            dots = seen.outputs.new_zeros(n, len(others)).detach()
            norms = seen.outputs.new_zeros(len(joined)).detach()
            for site, d in zip(seen.sites, seen.gradients(losses), strict=True):
                x, sizes = site.x, d.square().sum(1)
                both = d[:n] @ d[n:].T
                if "weight" in site.names:
                    dots += (x[:n] @ x[n:].T) * both
                    norms += x.square().sum(1) * sizes
                if "bias" in site.names:
                    dots += both
                    norms += sizes
            norms = norms.sqrt().clamp_min_(1e-12)
            return dots / norms[:n, None] / norms[n:]
    found = F.normalize(gradients(objective, params, joined))
    return found[:n] @ found[n:].T


def norms(objective: Objective, params: Tree, batch: Batch) -> Tensor:
    """The norm (n,) of the gradient of each row's loss; in linear layers on vectors |(x, 1)| |d|."""
    with _asking(objective.module):
        seen = _Forward(objective, params)(batch.inputs)
        if not seen.looped and all(layers.factored(site.layer, site.x) for site in seen.sites):
            (losses,) = supervised(objective, batch)(seen.outputs, slice(0, len(batch)))
            squares = seen.outputs.new_zeros(len(batch)).detach()
            for site, d in zip(seen.sites, seen.gradients(losses), strict=True):
                sizes = d.square().sum(1)
                if "weight" in site.names:
                    squares += site.x.square().sum(1) * sizes
                if "bias" in site.names:
                    squares += sizes
            return squares.sqrt()
    return gradients(objective, params, batch).square().sum(1).sqrt()


def supervised(objective: Objective, batch: Batch) -> Losses:
    """The task's loss of each row, times its weight."""

    def losses(outputs: Tensor, rows: slice) -> Iterator[Tensor]:
        found = objective.task.losses(outputs, batch.targets[rows])
        yield found if batch.weights is None else found * batch.weights[rows]

    return losses


class _Forward:
    """Forwards through a module in evaluation mode, watched by hooks."""

    def __init__(self, objective: Objective, params: Tree) -> None:
        self._objective = objective
        self._params = params
        self._watched: list[tuple[nn.Module, dict[str, str]]] = []
        self._rowwise: set[nn.Module] | None = None
        for path, layer in objective.module.named_modules():
            names = {own: f"{path}.{own}".lstrip(".") for own in layer._parameters}
            names = {own: name for own, name in names.items() if name in params}
            if names and layers.known(layer):
                self._watched.append((layer, names))

    def __call__(self, inputs: Tensor) -> Pass:
        """A forward over rows (n, *shape)."""
        outputs, calls = self._run(inputs)
        (reads, nodes), sites = _behind(outputs), []
        for layer, names in self._watched:
            if len(calls[layer]) == 1 and len(calls[layer][0]) == 2:
                x, y = calls[layer][0]
                alone = all(reads[id(self._params[name])] == 1 for name in names.values())
                if alone and self._keeps_rows(layer, x, y, inputs) and y.grad_fn in nodes:
                    sites.append(Site(layer, names, x, y))
        closed = {name for site in sites for name in site.names.values()}
        looped = [name for name, p in self._params.items() if reads[id(p)] and name not in closed]
        return Pass(outputs, sites, looped)

    def _run(self, inputs: Tensor) -> tuple[Tensor, dict[nn.Module, list[tuple[Tensor, ...]]]]:
        calls: dict[nn.Module, list[tuple[Tensor, ...]]] = {layer: [] for layer, _ in self._watched}
        hooks = [layer.register_forward_hook(partial(_note, calls[layer])) for layer in calls]
        try:
            return self._objective.outputs(self._params, inputs), calls
        finally:
            for hook in hooks:
                hook.remove()

    def _keeps_rows(self, layer: nn.Module, x: Tensor, y: Tensor, inputs: Tensor) -> bool:
        """Is the first dimension of this call the rows? With more than two, two and three rows tell."""
        if not len(x) == len(y) == len(inputs):
            return False
        if y.dim() == 2:
            return True
        if self._rowwise is None:
            few = torch.cat([inputs[:3]] * 3)
            self._rowwise = self._separate(few[:2]) & self._separate(few[:3])
        return layer in self._rowwise

    def _separate(self, inputs: Tensor) -> set[nn.Module]:
        """The layers called with one row per row, of which the first alone moves the first output."""
        outputs, calls = self._run(inputs)
        once = {layer: found[0][1] for layer, found in calls.items() if [len(c) for c in found] == [2]}
        probe = outputs[0].flatten()
        probe = probe @ torch.arange(1, len(probe) + 1, dtype=probe.dtype, device=probe.device)
        moved = torch.autograd.grad(probe, list(once.values()), allow_unused=True)
        return {
            layer
            for (layer, y), d in zip(once.items(), moved, strict=True)
            if len(y) == len(inputs) and d is not None and not bool(d[1:].any())
        }


def _note(calls: list[tuple[Tensor, ...]], layer: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
    """Note a call; what goes on is a copy, so that no later layer can change y in place."""
    calls.append((args[0].detach(), y) if len(args) == 1 else ())
    return y.clone()


def _behind(outputs: Tensor) -> tuple[Counter[int], set[Any]]:
    """The graph behind the outputs: how often it reads each leaf, by the leaf's id, and its nodes."""
    reads: Counter[int] = Counter()
    stack = [node for node in (outputs.grad_fn,) if node is not None]
    nodes: set[Any] = set(stack)
    while stack:
        for node, _ in stack.pop().next_functions:
            if node is None:
                continue
            leaf = getattr(node, "variable", None)
            if leaf is not None:
                reads[id(leaf)] += 1
            elif node not in nodes:
                nodes.add(node)
                stack.append(node)
    return reads, nodes


def _singly(
    objective: Objective,
    params: Tree,
    inputs: Tensor,
    losses: Losses,
    names: list[str],
    rows: slice,
) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Each row's number and its gradients at the named parameters, one backward each."""
    leaves = [params[name] for name in names]
    for i in range(rows.start, rows.stop) if names else ():
        outputs = objective.outputs(params, inputs[i : i + 1])
        for loss in losses(outputs, slice(i, i + 1)):
            yield i, torch.autograd.grad(loss.sum(), leaves, retain_graph=True, materialize_grads=True)


@contextmanager
def _asking(module: nn.Module) -> Iterator[None]:
    buffers = [(m, name, b.clone()) for m in module.modules() for name, b in m.named_buffers(recurse=False)]
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None:
            raise ConfigError(
                "the model normalises over the batch even in evaluation mode: give BatchNorm stats"
            )
    try:
        with evaluating(module), torch.enable_grad(), torch_draws(0, "per_row", 0):
            yield
    finally:
        with torch.no_grad():
            for owner, name, before in buffers:
                getattr(owner, name).copy_(before)
