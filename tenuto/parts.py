"""Parts found by listing their folder: a new part is one file, and there is no registry.

`find("tenuto.methods", "method", "er")` imports `tenuto.methods.er`. A sub-package is not a part.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from types import ModuleType

from tenuto.errors import ConfigError


def names(package: str) -> list[str]:
    """The parts in a package, by file name.

    >>> names("tenuto.guards")
    ['finite', 'none']
    """
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return sorted(m.name for m in pkgutil.iter_modules(folders) if not m.ispkg)


def find(package: str, kind: str, name: str) -> ModuleType:
    """The module of one part; an unknown name is refused with the nearest and the known ones."""
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"unknown {kind} {name!r}; known: {', '.join(known)}{hint}")
    return importlib.import_module(f"{package}.{name}")
