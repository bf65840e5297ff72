"""Experience replay (Chaudhry et al. 2019): each batch is joined by rows from memory.

L = mean over fresh and replayed rows of the task's loss, or, with a share s of its own for memory,
L = (1 - s) * mean over fresh rows + s * mean over replayed rows
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.errors import ConfigError
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.methods.shared.terms import Supervised


def recipe(
    ratio: Annotated[float | None, Limits(low=0.0, high=0.95, usual=(0.3, 0.5), unit="rows / rows")] = None,
    share: Annotated[float | None, Limits(low=0.0, high=1.0)] = None,
) -> Recipe:
    """Experience replay.

    Args:
        ratio: replayed / all rows; None: the learner's `replay_ratio`.
        share: the share of the loss that the replayed rows carry, in (0, 1); None: their share of the
            rows. A larger one holds the classes of the moment back in favour of all earlier ones.

    Raises:
        ConfigError: the share is not between 0 and 1.

    >>> recipe().replay
    (Replay(name='replay', ratio=None, rows=None, every=None),)
    """
    if share is None:
        terms: tuple[Supervised, ...] = (Supervised(),)
    elif 0.0 < share < 1.0:
        terms = (Supervised(draws=(), weight=1 - share), Supervised(fresh=False, weight=share))
    else:
        raise ConfigError(f"share is {share!r}; it must lie between 0 and 1")
    return Recipe(name="er", terms=terms, replay=(Replay(ratio=ratio),))
