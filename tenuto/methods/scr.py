"""Supervised contrastive replay (Mai et al. 2021): features by contrast, answers by the nearest class mean.

    L = sum_i -1/|P(i)| sum_{p in P(i)} log exp(z_i z_p / T) / sum_{a != i} exp(z_i z_a / T)
    W_k = mu_k / (|mu_k| T r),   b_k = 0

over two views of the fresh and replayed rows; z are features h / |h|, P(i) the other rows of i's class. The
head holds the running means mu_k of z in the direction they point, so that the greatest output is the
nearest mean; r is the mean of |h|. It is written as a part of the update, and so right under any optimizer.
Under regression it is plain replay.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from tenuto import trees
from tenuto.config import Limits
from tenuto.methods.shared.estimators import plain
from tenuto.methods.shared.features import Source, Written, below, bias_of, features, settled, weight_of
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.protocols import Objective, View
from tenuto.randomness import torch_draws
from tenuto.trees import Tree, fit
from tenuto.types import Batch, Estimate, State, Trace


def recipe(
    temperature: Annotated[float, Limits(low=1e-3, usual=(0.05, 0.5))] = 0.07,
    noise: Annotated[float, Limits(low=0.0, usual=(0.0, 0.5), unit="standard deviations")] = 0.1,
    mask: Annotated[float, Limits(low=0.0, high=0.99, usual=(0.0, 0.5))] = 0.1,
    window: Annotated[float, Limits(low=1.0, usual=(10.0, 500.0), unit="rows")] = 20.0,
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.3, 0.95))] = None,
) -> Recipe:
    """SCR.

    Args:
        temperature: of the contrast, T.
        noise: of the second view: Gaussian, in the standard deviations of the batch's inputs.
        mask: share of the second view's numbers that take their mean in the batch.
        window: rows of its class over which a mean forgets, as the features move on.
        ratio: replayed / all rows; None: the learner's `replay_ratio`.

    >>> [draw.name for draw in recipe(ratio=0.5).replay]
    ['replay']
    """
    contrast = Contrast(temperature, noise, mask, window)
    return Recipe(
        name="scr", estimator=contrast, rules=(Written(contrast, rest=True),), replay=(Replay(ratio=ratio),)
    )


class Contrast(Source):
    """The gradient of the contrast for the body, and the class means for the head.

    Args:
        temperature, noise, mask, window: as in `recipe`.
    """

    def __init__(self, temperature: float, noise: float, mask: float, window: float) -> None:
        self._temperature = temperature
        self._noise = noise
        self._mask = mask
        self._window = window
        self._steps = 0
        self._means: Tree = {}
        self._next: Tree = {}

    def __call__(self, objective: Objective, params: Tree, batch: Batch) -> Estimate:
        """The contrast of a joined batch; outputs (n, c) are the head's for the rows as they came."""
        if not objective.task.classes:
            return plain(objective, params, batch)
        weight = weight_of(objective, params)
        views = torch.cat([batch.inputs, self._view(batch.inputs, objective.seed)])
        found, outputs = features(objective, params, views)
        weights = None if batch.weights is None else batch.weights.repeat(2)
        loss = contrast(F.normalize(found), batch.targets.repeat(2), self._temperature, weights)
        grads = trees.zeros(params)
        if loss.requires_grad:
            grads = trees.like(
                params, torch.autograd.grad(loss, trees.leaves(params), materialize_grads=True)
            )
        self._next = self._moved(settled(objective, params, batch.inputs), batch, len(params[weight]))
        self._aim(params, weight)
        return Estimate(loss.detach(), outputs[: len(batch)].detach(), grads)

    def _view(self, inputs: Tensor, seed: int) -> Tensor:
        """Another view of rows (n, *shape), the same for the same step; whole numbers stay as they are."""
        if not inputs.is_floating_point() or not (self._noise or self._mask):
            return inputs
        with torch_draws(seed, "view", self._steps):
            noise, mask = torch.randn(inputs.shape).to(inputs), torch.rand(inputs.shape).to(inputs)
        mean, spread = inputs.mean(0), inputs.std(0, correction=0)
        view = inputs + self._noise * spread * noise
        return torch.where(mask < self._mask, mean, view)

    def _moved(self, rows: Tensor, batch: Batch, classes: int) -> Tree:
        """Means and norms after rows (n, d) in float64; those before are left as they are."""
        x = rows.double()
        known = self._means or {
            "counts": x.new_zeros(0),
            "means": x.new_zeros(0, x.shape[1]),
            "norm": x.new_zeros(2),
        }
        w = x.new_ones(len(x)) if batch.weights is None else batch.weights.to(x)
        counts = fit(known["counts"], x.new_empty(classes)).clone()
        means = fit(known["means"], x.new_empty(classes, x.shape[1]))
        new = torch.zeros_like(counts).index_add_(0, batch.targets, w)
        sums = torch.zeros_like(means).index_add_(0, batch.targets, F.normalize(x) * w[:, None])
        means = (means * counts[:, None] + sums) / (counts + new).clamp(min=1e-300)[:, None]
        norm = known["norm"] + torch.stack([w.sum(), (w * x.norm(dim=1)).sum()])
        norm = norm * (self._window / norm[0]).clamp(max=1.0)
        return {"counts": (counts + new).clamp(max=self._window), "means": means, "norm": norm}

    def _aim(self, params: Tree, weight: str) -> None:
        """Aim the head at the means."""
        counts, means, norm = self._next["counts"], self._next["means"], self._next["norm"]
        radius = (norm[1] / norm[0]).clamp(min=1e-6)
        rows = F.normalize(means) / (self._temperature * radius)
        targets = dict(
            zip(
                (weight, bias_of(weight)), below(rows, torch.zeros_like(counts), counts > 0, 1.0), strict=True
            )
        )
        self.aim(params, {name: target for name, target in targets.items() if name in params})

    def observe(self, trace: Trace) -> None:
        """Keep the means that the step was made of."""
        self._means = self._next
        self._steps += 1

    def consolidate(self, view: View) -> None:
        """Nothing ends with a context."""

    def state(self) -> State:
        """The means and the steps made."""
        return {"means": dict(self._means), "steps": self._steps}

    def load_state(self, state: State) -> None:
        """Take saved means."""
        self._means = {name: mean.clone() for name, mean in state["means"].items()}
        self._steps = int(state["steps"])


def contrast(z: Tensor, codes: Tensor, temperature: float, weights: Tensor | None = None) -> Tensor:
    """The supervised contrastive loss (Khosla et al. 2020, L_out), the mean over rows that have a partner.

    Args:
        z: (n, d) of norm 1.
        codes: (n,) their classes.
        weights: (n,) of the rows as anchors.

    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> round(contrast(z, torch.tensor([0, 0, 1, 1]), 1.0).item(), 4)
    0.5514
    """
    self_pair = torch.eye(len(z), dtype=torch.bool, device=z.device)
    alike = (z @ z.T / temperature).masked_fill(self_pair, -torch.inf)
    logs = (alike - alike.logsumexp(1, keepdim=True)).masked_fill(self_pair, 0.0)
    partner = (codes[:, None] == codes) & ~self_pair
    losses = -(logs * partner).sum(1) / partner.sum(1).clamp(min=1)
    return losses.mean() if weights is None else (losses * weights).mean()
