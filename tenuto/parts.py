"""Parts found by listing their folder: a new part is one file, and there is no registry.

`find("tenuto.methods", "method", "er")` imports `tenuto.methods.er`. A sub-package is not a part. A part's
maker says what its options may be: `Annotated[float, Limits(low=0.0)]`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from tenuto.config import Limits, check
from tenuto.errors import ConfigError


def names(package: str) -> list[str]:
    """The parts in a package, by file name.

    >>> names("tenuto.optimizers")
    ['accumulated', 'adamw', 'apart', 'sgd', 'wrapped']
    """
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return sorted(m.name for m in pkgutil.iter_modules(folders) if not m.ispkg)


@cache
def find(package: str, kind: str, name: str) -> ModuleType:
    """The module of one part; an unknown name is refused with the nearest and the known ones."""
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"unknown {kind} {name!r}; known: {', '.join(known)}{hint}")
    return importlib.import_module(f"{package}.{name}")


@cache
def declared(make: Callable[..., Any]) -> dict[str, tuple[Any, Limits]]:
    """Type and limits of each option of a part's maker, as its annotations say."""
    found = {}
    for option, hint in get_type_hints(make, include_extras=True).items():
        kind, *beside = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        found[option] = kind, next((b for b in beside if isinstance(b, Limits)), Limits())
    return {option: found[option] for option in inspect.signature(make).parameters}


def check_options(part: str, make: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Return where a part takes these options. Raises ConfigError naming the part, and what it does take."""
    known = declared(make)
    for option, value in options.items():
        if option not in known:
            raise ConfigError(f"{part} has no option {option!r}; it has: {', '.join(known) or 'none'}")
        kind, limits = known[option]
        check(f"{part}'s {option}", value, kind, limits)
