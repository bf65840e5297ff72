"""How a learner learns: one file per method, each with a `recipe(**options)`.

`load("er")` imports `tenuto.methods.er` and calls its `recipe`. A new method is a new file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from tenuto.config import Limits, check
from tenuto.errors import ConfigError
from tenuto.methods.shared.recipe import Recipe, Replay
from tenuto.parts import find, names

__all__ = ["Recipe", "Replay", "known", "load", "options"]


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
    make = _maker(name)
    takes = inspect.signature(make).parameters
    for option, value in (options or {}).items():
        if option not in takes:
            raise ConfigError(
                f"method {name!r} has no option {option!r}; it has: {', '.join(takes) or 'none'}"
            )
        kind, limits = _declared(make)[option]
        check(f"{name}'s {option}", value, kind, limits)
    recipe: Recipe = make(**(options or {}))
    return recipe


def options(name: str) -> dict[str, Limits]:
    """What a method's options may be, by name.

    >>> options("derpp")["alpha"].usual
    (0.1, 1.0)
    """
    return {option: limits for option, (_, limits) in _declared(_maker(name)).items()}


def _maker(name: str) -> Callable[..., Recipe]:
    make: Callable[..., Recipe] = find(__name__, "method", name.replace("+", "p").replace("-", "_")).recipe
    return make


def _declared(make: Callable[..., Recipe]) -> dict[str, tuple[Any, Limits]]:
    """Type and limits of each option, as its annotation says: `Annotated[float, Limits(low=0.0)]`."""
    found = {}
    for option, hint in get_type_hints(make, include_extras=True).items():
        kind, *beside = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        found[option] = kind, next((b for b in beside if isinstance(b, Limits)), Limits())
    return {option: declared for option, declared in found.items() if option != "return"}
