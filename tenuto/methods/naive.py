"""Plain fine-tuning: learn what comes, protect nothing. The lower bound."""

from __future__ import annotations

from tenuto.methods.shared.recipe import Recipe


def recipe() -> Recipe:
    """Fine-tuning on the fresh rows alone.

    >>> recipe().replay
    ()
    """
    return Recipe(name="naive")
