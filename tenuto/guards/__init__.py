"""Guards judge an update before it is committed. `load("finite")` imports `guards.finite`."""

from __future__ import annotations

from tenuto.parts import find
from tenuto.protocols import Guard


def load(name: str) -> Guard:
    """The guard of that name."""
    guard: Guard = find(__name__, "guard", name).guard()
    return guard
