"""Scores of remembered rows that take a look of their own; computed only where a policy names them.

    gradient norms    |grad l(theta; x, y)|,   each row's own, exactly
    dropout entropy   H(mean_k softmax f(x; mask_k)),   k = 1 .. 10   (MC dropout; Gal & Ghahramani 2016)

The invariant: looking changes nothing. Normalisation stays in evaluation mode and keeps its statistics, every
layer is left in its mode, and masks are keyed by the step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto.methods.shared.per_row import norms
from tenuto.models import Body
from tenuto.modes import dropping
from tenuto.protocols import Objective
from tenuto.randomness import torch_draws
from tenuto.types import Batch, Draw

KINDS = frozenset({"gradient norms", "dropout entropy"})
"""What policies may name of these."""
MASKS = 10
"""Dropout masks that an entropy is the mean answer of."""


def of(kind: str, objective: Objective, body: Body, batch: Batch, draw: Draw, step: int) -> Tensor:
    """The scores (k,) of the rows of one draw under the present parameters."""
    inputs = batch.inputs[draw.rows]
    if kind == "gradient norms":
        return norms(objective, body.params, Batch(inputs, batch.targets[draw.rows]))
    return dropout_entropy(objective, body, inputs, step)


def dropout_entropy(objective: Objective, body: Body, inputs: Tensor, step: int) -> Tensor:
    """The entropy (n,) in nats of the mean answer under dropout; without dropout, of the answer."""
    draws = torch_draws(objective.seed, "dropout entropy", step)
    with dropping(body.module) as masks, torch.no_grad(), draws:
        turns = range(MASKS if masks else 1)
        answers = [objective.outputs(body.params, inputs).softmax(1) for _ in turns]
    entropies: Tensor = torch.special.entr(torch.stack(answers).mean(0)).sum(1)
    return entropies
