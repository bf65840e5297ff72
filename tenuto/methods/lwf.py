"""Learning without forgetting (Li & Hoiem 2016): stay close to the model before this context.

    L = CE(fresh) + weight * T^2 KL(before || now) on the fresh rows, T = 2

The context ends when the learner consolidates; until the first time there is no teacher.
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.methods.shared.recipe import Recipe
from tenuto.methods.shared.teacher import Predecessor
from tenuto.methods.shared.terms import Distillation, Supervised


def recipe(
    weight: Annotated[float, Limits(low=0.0, usual=(0.1, 10.0))] = 1.0,
    temperature: Annotated[float, Limits(low=1e-3, usual=(1.0, 4.0))] = 2.0,
) -> Recipe:
    """LwF.

    Args:
        weight: of the distillation.
        temperature: softens both distributions.

    >>> recipe().teacher is not None
    True
    """
    return Recipe(name="lwf", terms=(Supervised(), Distillation(weight, temperature)), teacher=Predecessor())
