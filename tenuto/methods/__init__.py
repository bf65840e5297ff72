"""How a learner learns: one file per method, each with a `recipe(**options)`.

`load("er")` imports `tenuto.methods.er` and calls its `recipe`. A new method is a new file.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from tenuto.errors import ConfigError
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.parts import find, names

__all__ = ["Recipe", "Replay", "known", "load"]


def known() -> list[str]:
    """Every method, by name.

    >>> "er" in known()
    True
    """
    return names(__name__)


def load(name: str, options: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of a method; "der++" is the file `derpp`.

    >>> load("der++", {"beta": 1.0}).name
    'derpp'
    """
    make = find(__name__, "method", name.replace("+", "p").replace("-", "_")).recipe
    takes = inspect.signature(make).parameters
    for option in options or ():
        if option not in takes:
            raise ConfigError(
                f"method {name!r} has no option {option!r}; it has: {', '.join(takes) or 'none'}"
            )
    recipe: Recipe = make(**(options or {}))
    return recipe
