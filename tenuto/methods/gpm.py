"""GPM (Saha et al. 2021): a layer moves only where no input of an earlier context reaches.

    [W b] <- [W b] + U - (U M) M^T,    M an orthonormal basis of the layer's earlier inputs [x 1]

U is the move proposed by the optimizer. A move of W changes the layer's output on x by U [x 1]^T, which is
zero for every input in the span of M: under any optimizer, weight decay included, and for bias and weight
together. Where a context ends, M gains the leading directions of its inputs, in evaluation mode at the
parameters of that moment, until it captures a share of their energy; it never has more than d columns.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tenuto import subspace
from tenuto.config import Limits
from tenuto.methods.shared.layer_inputs import Layer, layer_inputs
from tenuto.methods.shared.recipe import Recipe
from tenuto.protocols import Oracle, View
from tenuto.trees import Tree, copy
from tenuto.types import State, Trace, Update


class Projection:
    """Keeps updates out of the span of earlier inputs.

    Args:
        first, threshold: shares of the energy to capture: for the layer that runs first, for the others.
        step: what each context adds to both.
        head: is the layer that runs last protected too?
        freeze: do parameters of other layers stand still once there is something to protect?
    """

    def __init__(self, *, first: float, threshold: float, step: float, head: bool, freeze: bool) -> None:
        self._first = first
        self._threshold = threshold
        self._step = step
        self._head = head
        self._freeze = freeze
        self._bases: Tree = {}
        self._biases: dict[str, str | None] = {}
        self._sides: dict[str, tuple[Tensor, int, int]] = {}
        self._free: list[str] = []

    def project(self, update: Update, oracle: Oracle) -> Update:
        """The update without what would change a layer's output on the inputs it protects."""
        if not self._bases:
            return update
        tree: Tree = {}
        if self._freeze:
            known = {*self._bases, *self._biases.values(), *self._free}
            tree = {name: torch.zeros_like(leaf) for name, leaf in update.tree.items() if name not in known}
        for weight, bias in self._biases.items():
            basis, kept, taken = self._sides[weight]
            rows = update.tree[weight].flatten(1)
            spanned = rows @ (basis if bias is None else basis[:-1])
            if bias is not None:
                beside = update.tree[bias]
                spanned = torch.addr(spanned, beside, basis[-1])
                tree[bias] = torch.addmv(beside, spanned, basis[-1], beta=kept, alpha=taken)
                basis = basis[:-1]
            moved = torch.addmm(rows, spanned, basis.T, beta=kept, alpha=taken)
            tree[weight] = moved.view(update.tree[weight].shape)
        projected = {name: tree.get(name, leaf) for name, leaf in update.tree.items()}
        return Update(projected, update.scale, update.linear)

    def observe(self, trace: Trace) -> None:
        """Nothing moves between consolidations."""

    def consolidate(self, view: View) -> None:
        """Protect the inputs that the rows of this context give each layer."""
        if view.context is None:
            return
        layers = layer_inputs(view, view.context)
        if not self._head and layers:
            last = layers.pop()
            self._free = [name for name in (last.weight, last.bias) if name is not None]
        for number, layer in enumerate(layers):
            share = (self._threshold if number else self._first) + self._step * view.number
            self._cover(layer, view.params[layer.weight], min(share, 1.0))

    def _cover(self, layer: Layer, weight: Tensor, share: float) -> None:
        held = self._bases.get(layer.weight, subspace.empty(layer.inputs).to(weight))
        self._bases[layer.weight] = subspace.cover(held, layer.inputs, threshold=share)
        self._biases[layer.weight] = layer.bias
        self._sides[layer.weight] = _thinner(self._bases[layer.weight])

    def state(self) -> State:
        """The basis of each layer by its weight's name, the bias beside it, what is left free."""
        return {"bases": dict(self._bases), "biases": dict(self._biases), "free": list(self._free)}

    def load_state(self, state: State) -> None:
        """Take saved bases."""
        self._bases, self._biases = copy(state["bases"]), dict(state["biases"])
        self._free = list(state["free"])
        self._sides = {weight: _thinner(basis) for weight, basis in self._bases.items()}


def _thinner(basis: Tensor) -> tuple[Tensor, int, int]:
    """U - (U M) M^T as (M, 1, -1), or as (U N) N^T where the complement N of M is thinner: (N, 0, 1)."""
    if 2 * basis.shape[1] <= basis.shape[0]:
        return basis, 1, -1
    return subspace.complement(basis), 0, 1


def recipe(
    threshold: Annotated[float, Limits(low=0.0, high=1.0, usual=(0.9, 1.0))] = 0.99,
    first_threshold: Annotated[float | None, Limits(low=0.0, high=1.0, usual=(0.9, 1.0))] = 0.95,
    threshold_step: Annotated[float, Limits(low=0.0, high=1.0, usual=(0.0, 0.01))] = 0.0,
    rows: Annotated[int, Limits(low=1, high=1_000_000, usual=(100, 1000), unit="rows")] = 300,
    head: bool = True,
    others: Annotated[str, Limits(choices=("freeze", "free"))] = "freeze",
) -> Recipe:
    """GPM; the defaults are the paper's on permuted digits.

    Args:
        threshold: the share of the energy of a layer's inputs that is protected.
        first_threshold: the same for the layer that runs first; None: `threshold`.
        threshold_step: what each context before adds to both (0.003 in the paper on CIFAR-100).
        rows: of each context whose inputs are looked at when it ends.
        head: protect the layer that runs last too, as the paper does for a head that contexts share; where
            classes appear on the way, their outputs then learn only from what earlier inputs did not span.
        others: parameters of layers that are not Linear or Conv (norms, embeddings) stand still once a
            context has ended ("freeze", as in the paper's code), or learn on unprotected ("free").
            BatchNorm's running statistics are no parameters: they move on, and what they scale with them.

    >>> recipe(rows=100).context
    100
    """
    rule = Projection(
        first=threshold if first_threshold is None else first_threshold,
        threshold=threshold,
        step=threshold_step,
        head=head,
        freeze=others == "freeze",
    )
    return Recipe(name="gpm", rules=(rule,), context=rows)
