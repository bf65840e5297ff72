"""Streaming linear discriminant analysis (Hayes & Kanan 2020): a head in closed form on features as they are.

    W_k = A^-1 mu_k,   b_k = -1/2 mu_k A^-1 mu_k,   A = (1 - e) S / N + e max(1, tr(S / N) / d) I

mu_k are the means of the classes and S the scatter around them, both exact up to rounding. The body does
not learn: give it pretrained weights; the default model's are random features, of rows as its running moments
standardise them. Under regression the same moments give ridge regression. The head lands on its target under
any optimizer. With `passes` a row counts as often as it is passed.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tenuto import trees
from tenuto.config import Limits
from tenuto.errors import ConfigError
from tenuto.methods.shared.features import Source, Written, below, bias_of, settled, weight_of
from tenuto.methods.shared.recipe import Recipe
from tenuto.moments import Moments
from tenuto.protocols import Objective, View
from tenuto.trees import Tree
from tenuto.types import Batch, Estimate, State, Trace


def recipe(
    shrinkage: Annotated[float, Limits(low=1e-8, high=1.0, usual=(1e-4, 1e-2))] = 1e-4,
    every: Annotated[int, Limits(low=1, usual=(1, 100), unit="steps")] = 10,
) -> Recipe:
    """SLDA.

    Args:
        shrinkage: of the covariance towards the identity, e.
        every: steps from one factorisation of the covariance, d^3 / 3 operations, to the next; the means
            are new at each step.

    >>> recipe().replay
    ()
    """
    streaming = Streaming(shrinkage, every)
    return Recipe(name="slda", language=False, estimator=streaming, rules=(Written(streaming, rest=False),))


class Streaming(Source):
    """Aims the head at the discriminant of all rows so far; its gradient is zero.

    Args:
        shrinkage, every: as in `recipe`.
    """

    def __init__(self, shrinkage: float, every: int) -> None:
        self._shrinkage = shrinkage
        self._every = every
        self._steps = 0
        self._moments: Moments | None = None
        self._factor: Tensor | None = None
        self._next: tuple[Moments | None, Tensor | None] = (None, None)

    def __call__(self, objective: Objective, params: Tree, batch: Batch) -> Estimate:
        """The loss and outputs (n, c) before the head is written anew."""
        weight = weight_of(objective, params)
        bias = bias_of(weight)
        if bias not in params:
            raise ConfigError(
                f"slda writes a bias, but the output layer {objective.head!r} has none: give it one"
            )
        with torch.no_grad():
            loss, outputs = objective(params, batch)
        rows, codes, classes = settled(objective, params, batch.inputs), batch.targets, len(params[weight])
        features, answers = rows.shape[1], not objective.task.classes
        if answers:
            rows, classes = torch.cat([rows, codes.to(rows)], 1), 1
            codes = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        known = self._moments or Moments.none(rows.shape[1], rows.device)
        moments = known.joined(rows, codes, batch.weights, classes=classes)
        factor = self._factor
        if factor is None or self._steps < self._every or self._steps % self._every == 0:
            factor = self._factored(moments.scatter[:features, :features] / moments.counts.sum())
        self._next = (moments, factor)
        found = _line(moments, factor) if answers else _discriminant(moments, factor)
        self.aim(params, dict(zip((weight, bias), found, strict=True)))
        return Estimate(loss, outputs, trees.zeros(params))

    def _factored(self, covariance: Tensor) -> Tensor:
        """The Cholesky factor of the shrunken covariance (d, d); what is not finite stays so."""
        e, scale = self._shrinkage, covariance.diagonal().mean().clamp(min=1.0)
        identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
        factor: Tensor = torch.linalg.cholesky_ex((1 - e) * covariance + e * scale * identity).L
        return factor

    def observe(self, trace: Trace) -> None:
        """Keep the moments that the step was made of."""
        self._moments, self._factor = self._next
        self._steps += 1

    def consolidate(self, view: View) -> None:
        """Nothing ends with a context."""

    def state(self) -> State:
        """The moments, the factor and the steps made."""
        moments = {} if self._moments is None else self._moments.state()
        return {"moments": moments, "factor": self._factor, "steps": self._steps}

    def load_state(self, state: State) -> None:
        """Take saved moments."""
        moments, factor = state["moments"], state["factor"]
        self._moments = Moments.of(moments) if moments else None
        self._factor = None if factor is None else factor.clone()
        self._steps = int(state["steps"])


def _discriminant(moments: Moments, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (c, d) and bias (c,) of the classes."""
    weight = torch.cholesky_solve(moments.means.T, factor).T
    bias = -0.5 * (moments.means * weight).sum(1)
    return below(weight, bias, moments.counts > 0, float(moments.counts.sum().log1p()))


def _line(moments: Moments, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (k, d) and bias (k,) of the ridge regression of the last k columns on the first d."""
    d = len(factor)
    mean, together = moments.means[0], moments.scatter[:d, d:] / moments.counts.sum()
    weight = torch.cholesky_solve(together, factor).T
    return weight, mean[d:] - weight @ mean[:d]
