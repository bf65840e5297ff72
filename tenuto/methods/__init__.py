"""How a learner learns: one file per method, each with a `recipe(**options)`.

`load("er")` imports `tenuto.methods.er` and calls its `recipe`. A new method is a new file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tenuto.config import Limits
from tenuto.methods.shared.recipe import Growth, Recipe, Replay
from tenuto.parts import check_options, declared, find, names

__all__ = ["Growth", "Recipe", "Replay", "known", "load", "options"]


def known(*, plain: bool = False) -> list[str]:
    """Every method, by name; with `plain` those that learn any module, not adapters alone.

    >>> "er" in known(), "ogp_lora" in known(plain=True)
    (True, False)
    """
    return [name for name in names(__name__) if not plain or not load(name).blocks]


def load(name: str, options: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of a method; "der++" is the file `derpp`.

    >>> load("der++", {"beta": 1.0}).name
    'derpp'
    """
    make = _maker(name)
    check_options(f"method {name!r}", make, options or {})
    recipe: Recipe = make(**(options or {}))
    return recipe


def options(name: str) -> dict[str, Limits]:
    """What a method's options may be, by name.

    >>> options("derpp")["alpha"].usual
    (0.1, 1.0)
    """
    return {option: limits for option, (_, limits) in declared(_maker(name)).items()}


def _maker(name: str) -> Callable[..., Recipe]:
    make: Callable[..., Recipe] = find(__name__, "method", name.replace("+", "p").replace("-", "_")).recipe
    return make
