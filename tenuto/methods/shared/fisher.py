"""The diagonal of the Fisher information, which says how much each parameter matters to the outputs.

    F = E_x E_{y ~ p(y|x)} (d log p(y|x) / d theta)^2

Kinds: "exact" sums over every y, "sampled" draws one y per row, "empirical" takes the row's own target,
which is common but not the Fisher information (Kunstner et al. 2019). Under regression p(y|x) is normal,
of unit variance around the outputs, and F is the diagonal of the Gauss-Newton matrix.

The invariant: a mean over rows of squares, never the square of a mean. A row's weight counts as that
many rows would.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tenuto import trees
from tenuto.errors import ConfigError
from tenuto.methods.shared.per_row import Losses, sums
from tenuto.protocols import Objective
from tenuto.randomness import uniform
from tenuto.trees import Tree
from tenuto.types import Batch

KINDS = ("exact", "sampled", "empirical")


def fisher(
    objective: Objective,
    params: Tree,
    batch: Batch,
    kind: str = "exact",
    *,
    seed: int = 0,
    number: int = 0,
) -> Tree:
    """The Fisher diagonal, a mean over the rows (n, *shape) of a batch, in squared nats per unit.

    Args:
        kind: "exact" (a backward per output; of a language model, which has one per text there is, sampled),
            "sampled" or "empirical" (one backward).
        seed, number: key of the sampled targets.

    Raises:
        ConfigError: there is no such kind; the model normalises over the batch in evaluation mode.
    """
    if kind not in KINDS:
        raise ConfigError(f"the kind of Fisher information is {kind!r}; it must be one of {', '.join(KINDS)}")
    if kind == "exact" and not objective.task.classes and objective.task.categorical:
        kind = "sampled"
    losses = {"exact": _every, "sampled": _sampled, "empirical": _own}[kind](objective, batch, seed, number)
    return trees.scale(sums(objective, params, batch.inputs, losses, power=2), 1 / len(batch))


def sensitivity(objective: Objective, params: Tree, batch: Batch) -> Tree:
    """How fast the outputs f change: E_x |d ||f(x)||^2 / d theta|, without a label (Aljundi et al. 2018)."""

    def losses(outputs: Tensor, rows: slice) -> Iterator[Tensor]:
        sizes = outputs.flatten(1).square().sum(1)
        yield sizes if batch.weights is None else sizes * batch.weights[rows]

    return trees.scale(sums(objective, params, batch.inputs, losses, power=1), 1 / len(batch))


def _own(objective: Objective, batch: Batch, seed: int, number: int) -> Losses:
    def losses(outputs: Tensor, rows: slice) -> Iterator[Tensor]:
        yield _rooted(objective.task.losses(outputs, batch.targets[rows]), batch, rows)

    return losses


def _every(objective: Objective, batch: Batch, seed: int, number: int) -> Losses:
    """sqrt(p(y|x)) log p(y|x) for every y; under regression each output."""

    def losses(outputs: Tensor, rows: slice) -> Iterator[Tensor]:
        logs = outputs.log_softmax(1) if objective.task.classes else outputs
        roots = (logs / 2).exp().detach() if objective.task.classes else torch.ones_like(outputs)
        for column in range(outputs.shape[1]):
            yield _rooted(logs[:, column] * roots[:, column], batch, rows)

    return losses


def _sampled(objective: Objective, batch: Batch, seed: int, number: int) -> Losses:
    """One y per row, drawn from the model's own outputs."""

    def losses(outputs: Tensor, rows: slice) -> Iterator[Tensor]:
        at = outputs.detach()
        if objective.task.categorical:
            drawn = _uniform(seed, number, rows, at[0, ..., 0].numel()).to(at.device)
            targets = _classes(at, drawn.reshape(at.shape[:-1])[..., None])
            if at.dim() == 3:
                targets = targets.where(batch.targets[rows][:, : at.shape[1]] >= 0, -1)
        else:
            noise = torch.special.ndtri(_uniform(seed, number, rows, at.shape[1]))
            targets = at + noise.to(at)
        yield _rooted(objective.task.losses(outputs, targets), batch, rows)

    return losses


def _classes(outputs: Tensor, u: Tensor) -> Tensor:
    """The class (n,) or (n, l) at which the probabilities, added up, pass u, which has a last axis of 1."""
    steps = outputs.double().softmax(-1).cumsum(-1)
    return (steps < u).sum(-1).clamp_max_(outputs.shape[-1] - 1)


def _uniform(seed: int, number: int, rows: slice, columns: int) -> Tensor:
    """Draws (k, columns) in (0, 1), each row's its own."""
    counters = np.arange(rows.start * columns, rows.stop * columns, dtype=np.uint64)
    u = uniform(seed, f"fisher:{number}", counters).reshape(-1, columns)
    return torch.from_numpy(u + 2.0**-54)


def _rooted(losses: Tensor, batch: Batch, rows: slice) -> Tensor:
    """Losses of which the squares carry each row's weight once."""
    return losses if batch.weights is None else losses * batch.weights[rows].sqrt()
