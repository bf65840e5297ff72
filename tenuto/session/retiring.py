"""Retiring: a closed adapter answers no row any more, by an entry of the journal that a replay obeys too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenuto.errors import ConfigError
from tenuto.learner import Learner

if TYPE_CHECKING:
    from tenuto.session.walk import Walk


def retire(walk: Walk, name: str) -> None:
    """Have an adapter retire now, ahead of any backlog. ConfigError, and no entry, where it cannot."""
    adapters = walk.fold.learner.adapters
    if adapters is None:
        raise ConfigError("the method gives no context an adapter of its own; progressive does")
    adapters.check_closed(name)
    walk.order("retire", {"adapter": name})
    walk.obey()
    walk.commit()


def retired(learner: Learner, name: str) -> str:
    """Retire it and say so. Where all that made the adapter is forgotten there is none, and nothing to do."""
    if learner.adapters is None or name not in learner.adapters.closed:
        return f"retire: {name} is not there any more"
    learner.adapters.retire(name)
    return f"retire: {name}"
