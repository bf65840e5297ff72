"""Has the world moved? One file per detector, each with a `detector(**options)`.

`load("adwin")` imports `tenuto.drift.adwin` and calls its `detector`. A new detector is a new file. A
detector takes a stream value by value and answers with a report where it shows a drift; what is done about
it is not its matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tenuto.config import Limits
from tenuto.parts import check_options, declared, find, names
from tenuto.protocols import DriftDetector

__all__ = ["known", "load", "options"]


def known() -> list[str]:
    """Every detector, by name.

    >>> known()
    ['adwin', 'ddm', 'kl', 'kswin', 'page_hinkley', 'projected']
    """
    return names(__name__)


def load(name: str, options: Mapping[str, Any] | None = None, *, seed: int = 0) -> DriftDetector:
    """A detector by its name; `seed` keys the draws of one that draws.

    >>> detector = load("ddm", {"drift_threshold": 4.0})
    >>> detector.update(0.0) is None
    True
    """
    make = _maker(name)
    given = dict(options or {})
    if "seed" in declared(make):
        given.setdefault("seed", seed)
    check_options(f"detector {name}", make, given)
    return make(**given)


def options(name: str) -> dict[str, Limits]:
    """What a detector's options may be, by name.

    >>> options("adwin")["delta"].high
    1.0
    """
    return {option: limits for option, (_, limits) in declared(_maker(name)).items()}


def _maker(name: str) -> Callable[..., DriftDetector]:
    make: Callable[..., DriftDetector] = find(__name__, "detector", name.replace("-", "_")).detector
    return make
