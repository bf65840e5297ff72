"""Replay and elastic weights together, with distillation and gradient projection where asked for.

    L = CE(fresh and replayed) + strength/2 * sum F (theta - theta*)^2 + distil * T^2 KL(before || now)

Replay keeps what memory holds; the springs (online EWC, Schwarz et al. 2018) hold the weights that the
rows memory let go of depended on. Recommended where few weights learn, as in adapters.
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.methods import gpm as projection
from tenuto.methods.ewc import Elastic
from tenuto.methods.shared.fisher import KINDS
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.methods.shared.teacher import Predecessor
from tenuto.methods.shared.terms import Distillation, Supervised
from tenuto.protocols import Term


def recipe(
    strength: Annotated[float, Limits(low=0.0, usual=(0.1, 10_000.0), unit="1 / nats")] = 1.0,
    gamma: Annotated[float, Limits(low=0.0, high=1.0, usual=(0.9, 1.0))] = 0.95,
    fisher: Annotated[str, Limits(choices=KINDS)] = "exact",
    rows: Annotated[int, Limits(low=1, high=1_000_000, usual=(100, 10_000), unit="rows")] = 1000,
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.3, 0.5), unit="rows / rows")] = None,
    distil: Annotated[float, Limits(low=0.0, usual=(0.0, 10.0))] = 0.0,
    temperature: Annotated[float, Limits(low=1e-3, usual=(1.0, 4.0))] = 2.0,
    gpm: bool = False,
) -> Recipe:
    """Replay, online EWC, and what is asked for beside them.

    Args:
        strength: lambda of EWC; 0.1 to 1 on adapters whose losses are means over tokens.
        gamma: what is left of the earlier importances after each context.
        fisher: "exact" (a backward per class), "sampled", or "empirical" (one backward).
        rows: of each context, kept until its end to measure importance on.
        ratio: replayed / all rows; None: the learner's `replay_ratio`.
        distil: weight of the distillation from the model before this context; 0: none.
        temperature: of the distillation.
        gpm: project updates off the inputs of earlier contexts, as the method gpm does by default.

    >>> len(recipe().terms), len(recipe(distil=1.0).terms), len(recipe(gpm=True).rules)
    (1, 2, 1)
    """
    terms: tuple[Term, ...] = (Supervised(),)
    if distil:
        terms = (*terms, Distillation(distil, temperature))
    return Recipe(
        name="hybrid",
        terms=terms,
        penalties=(Elastic(strength, kind=fisher, gamma=gamma),),
        rules=projection.recipe(rows=rows).rules if gpm else (),
        replay=(Replay(ratio=ratio),),
        teacher=Predecessor() if distil else None,
        context=rows,
    )
