"""Summands of the loss that several methods share."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from tenuto.likelihood import log_likelihood
from tenuto.protocols import Forward
from tenuto.types import Batch

_TINY = 1e-6
"""The least probability of all classes that are not among the likeliest."""


class Supervised:
    """The task's loss on the fresh rows and on named draws, as one mean over all those rows.

    Args:
        draws: names of the draws that count; None: every draw.
        fresh: do the fresh rows count?
        weight: multiplies the mean.
    """

    needs: frozenset[str] = frozenset()

    def __init__(
        self, draws: tuple[str, ...] | None = None, *, fresh: bool = True, weight: float = 1.0
    ) -> None:
        self._draws = draws
        self._fresh = fresh
        self._weight = weight

    def __call__(self, forward: Forward) -> Tensor | None:
        """The mean loss, or None where no row of this term is in the batch."""
        batch, task = forward.batch, forward.task
        outputs, targets, weights = forward.outputs, batch.targets, batch.weights
        if self._draws is not None or not self._fresh:
            rows = list(self._slices(batch))
            if not rows:
                return None
            outputs, targets = _take(outputs, rows), _take(targets, rows)
            weights = None if weights is None else _take(weights, rows)
        if weights is None:
            loss = task.loss(outputs, targets)
        else:
            loss = (task.losses(outputs, targets) * weights).mean()
        return loss if self._weight == 1.0 else loss * self._weight

    def _slices(self, batch: Batch) -> Iterator[slice]:
        if self._fresh:
            yield slice(0, batch.fresh)
        for name, draw in batch.draws.items():
            if self._draws is None or name in self._draws:
                yield draw.rows


class Logits:
    """alpha * ||z - z_stored||^2, the mean over rows and outputs (DER, Buzzega et al. 2020).

    A class that appeared after a row was stored has no stored output there: it is held to the least
    the row had, no likelier than the least likely class known then. Left free, new classes would take
    the old rows over.
    """

    needs: frozenset[str] = frozenset({"logits"})

    def __init__(self, draw: str, weight: float) -> None:
        self._draw = draw
        self._weight = weight

    def __call__(self, forward: Forward) -> Tensor | None:
        """The weighted squared distance, or None where nothing was drawn."""
        draw = forward.batch.draws.get(self._draw)
        if draw is None:
            return None
        outputs = forward.outputs[draw.rows]
        gap = (outputs - _filled(draw.kept["logits"], draw.kept["width"], outputs.shape[1])).square()
        if forward.batch.weights is not None:
            gap = gap * forward.batch.weights[draw.rows, None]
        return self._weight * gap.mean()


class Anchored:
    """weight * KL(first answers || answers now) on anchors, over the likeliest classes, all others as one."""

    needs: frozenset[str] = frozenset()

    def __init__(self, draw: str, weight: float) -> None:
        self._draw = draw
        self._weight = self._asked = weight

    def protect(self, factor: float) -> None:
        """Weigh so many times what was asked for."""
        self._weight = factor * self._asked

    def __call__(self, forward: Forward) -> Tensor | None:
        """The weighted mean divergence of a row, in nats, or of its tokens; None where none was drawn."""
        draw = forward.batch.draws.get(self._draw)
        if draw is None:
            return None
        outputs, which, before = forward.outputs[draw.rows], draw.kept["likeliest"], draw.kept["chances"]
        present = None
        if outputs.dim() == 3:
            most = min(outputs.shape[1], which.shape[1])
            outputs, which, before = outputs[:, :most], which[:, :most], before[:, :most]
            present = draw.kept["targets"][:, :most] >= 0
        now = log_likelihood(outputs, which, present)
        others, rest = (1 - chances.exp().sum(-1) for chances in (before, now))
        others, rest = others.clamp_min(_TINY), rest.clamp_min(_TINY)
        found = (before.exp() * (before - now)).sum(-1) + others * (others.log() - rest.log())
        if present is not None:
            found = (found * present).sum(1) / present.sum(1)
        return self._weight * found.mean()


class Distillation:
    """lambda T^2 KL(teacher || model) on the teacher's outputs, at temperature T (Hinton et al. 2015).

    Where there are no classes, it is the task's own loss of the outputs against the teacher's.
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, weight: float, temperature: float) -> None:
        self._weight = weight
        self._temperature = temperature

    def __call__(self, forward: Forward) -> Tensor | None:
        """The mean divergence of a row, in nats, weighted; None while there is no teacher."""
        if forward.teacher is None:
            return None
        known = forward.outputs[:, : forward.teacher.shape[1]]
        losses = (
            self._divergence(known, forward.teacher)
            if forward.task.categorical
            else (forward.task.losses(known, forward.teacher))
        )
        if forward.batch.weights is not None:
            losses = losses * forward.batch.weights
        return self._weight * losses.mean()

    def _divergence(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        t = self._temperature
        now, before = (outputs / t).log_softmax(-1), (teacher / t).log_softmax(-1)
        found = t * t * F.kl_div(now, before, reduction="none", log_target=True).sum(-1)
        return found if found.dim() == 1 else found.sum(1) / teacher.any(2).sum(1)


def _take(rows: Tensor, slices: list[slice]) -> Tensor:
    return rows[slices[0]] if len(slices) == 1 else torch.cat([rows[piece] for piece in slices])


def _filled(stored: Tensor, width: Tensor, columns: int) -> Tensor:
    """Stored outputs (k, c) to `columns` outputs: beyond its width each row holds its least."""
    known = torch.arange(stored.shape[1], device=stored.device) < width[:, None]
    least = torch.where(known, stored, torch.inf).amin(1, keepdim=True)
    filled = torch.where(known, stored, least)
    return torch.cat([filled, least.expand(-1, columns - stored.shape[1])], 1)
