"""Progressive adapters: a new one for each context, frozen when it ends (Rusu et al. 2016, with adapters).

The step is plain fine-tuning of the present adapter; a model with low-rank adapters in PEFT's form gets a new
one for each context, any other module is copied whole at its end. A router names the adapter that answers a
row, by the row's embedding under the frozen base, without being told its domain. Nothing that a closed
context learned changes, so what is forgotten is what the router mistakes. Memory is kept for distilling all
adapters into one; no step draws from it.
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.methods.shared.recipe import Growth, Recipe


def recipe(
    most: Annotated[int, Limits(low=1, high=1024, usual=(8, 64), unit="adapters")] = 16,
    wrong: Annotated[float, Limits(low=0.0, high=0.5, usual=(0.01, 0.1))] = 0.05,
    shrinkage: Annotated[float, Limits(low=1e-8, high=1.0, usual=(0.01, 0.9))] = 0.3,
) -> Recipe:
    """Progressive adapters.

    Args:
        most: adapters; with so many the last one goes on learning, whatever the context.
        wrong: share of known rows that the router may take for strangers; 0: it takes none.
        shrinkage: of the router's covariance towards the identity.

    >>> recipe(most=4).growth.most
    4
    """
    return Recipe(
        name="progressive",
        growth=Growth(most=most, wrong=wrong, shrinkage=shrinkage),
        remembers=True,
        insertion="class_balanced",
    )
