"""Recall: which remembered rows join the fresh ones in a step."""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto.config import OnlineLearnerConfig
from tenuto.memory import ReplayBuffer
from tenuto.methods import Recipe
from tenuto.types import Batch, Draw


def remember(recipe: Recipe, config: OnlineLearnerConfig) -> ReplayBuffer | None:
    """The memory a method keeps under these settings; None where it keeps none."""
    if not (recipe.replay or recipe.rehearsal or recipe.remembers):
        return None
    return ReplayBuffer(
        capacity=config.memory_size if recipe.bounded else None,
        insertion=config.insertion or recipe.insertion,
        sampling=config.sampling or recipe.sampling,
        seed=config.seed,
    )


def join(
    fresh: Batch, memory: ReplayBuffer, recipe: Recipe, *, ratio: float, examples: int, step: int
) -> Batch:
    """The fresh rows, and behind them each draw the method makes from memory.

    Args:
        ratio: replayed / all rows of a draw that names none of its own.
        examples: rows learned before these.
        step: the number of the update, which keys the draws.
    """
    n = top = fresh.inputs.shape[0]
    inputs, targets, weights = [fresh.inputs], [fresh.targets], [fresh.weights]
    draws: dict[str, Draw] = {}
    for replay in recipe.replay:
        share = due(ratio if replay.ratio is None else replay.ratio, examples, n)
        recalled = memory.sample(share, step, replay.name)
        if recalled is None:
            continue
        columns, slots = recalled.columns, recalled.slots
        inputs.append(columns["inputs"])
        targets.append(columns["targets"])
        weights.append(recalled.weights)
        draws[replay.name] = Draw(slice(top, top := top + slots.shape[0]), slots, columns)
    if not draws:
        return fresh
    return Batch(torch.cat(inputs), torch.cat(targets), _weights(weights, targets), None, draws)


def due(ratio: float, examples: int, fresh: int) -> int:
    """Rows to draw beside `fresh` ones: fractions come due as rows add up, however they are split.

    >>> [due(0.25, seen, 1) for seen in range(6)]
    [0, 0, 1, 0, 0, 1]
    """
    each = ratio / (1 - ratio)
    return int((examples + fresh) * each + 1e-6) - int(examples * each + 1e-6)


def _weights(weights: list[Tensor | None], targets: list[Tensor]) -> Tensor | None:
    if not [w for w in weights if w is not None]:
        return None
    return torch.cat([torch.ones(len(t)) if w is None else w for w, t in zip(weights, targets, strict=True)])
