"""What a method may ask of adapters: how their sites are read, and what is to be protected at them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from tenuto.protocols import Stateful

if TYPE_CHECKING:
    from torch import Tensor

    Tree = dict[str, Tensor]


class Reads(Protocol):
    """What adapted layers read in the last forward pass, by site, and were told in the last backward pass."""

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """The input (n, ..., d) of each site."""

    def rows(self, site: str, rows: slice, kept: Tensor | None = None) -> Tensor:
        """The inputs (k, d) of these rows of the batch; `kept` (n, t): which of their tokens are there."""

    def picked(self, site: str, places: Tensor) -> Tensor:
        """The inputs (k, d) at these places (k,) of a site: token u of row i of (n, t) is i t + u."""

    def gradient(self, site: str, rows: slice) -> Tensor:
        """A few random combinations (k, d) of the rows of the whole weights' gradient on these rows."""


class Adapter(Stateful, Protocol):
    """Weights that learn beside a frozen model, and cannot be seen in what their bases span."""

    @property
    def bases(self) -> Tree:
        """What is protected at each site, orthonormal columns (d, m)."""

    def settle(self, rows: Tensor) -> None:
        """Take ordinary rows, before anything is learned, by which a gate tells others apart."""

    def attend(self, rows: Tensor) -> bool:
        """Have those weights learn that answer these rows; did that change which ones do?"""

    def commit(self, bases: Tree) -> None:
        """Freeze what was learned; what comes learns outside these bases. StateError where one is unfit."""

    @property
    def aimed(self) -> bool:
        """Does what learns begin where its first rows are read? Before that nothing should move it."""

    def start(self, site: str, rows: Tensor) -> Tensor:
        """Where what learns would begin at a site, for rows (k, d) of unit length that it gives."""

    def aim(self, starts: Tree) -> None:
        """Begin there."""

    def aiming(self, pick: Callable[[Tensor], Tensor]) -> AbstractContextManager[Tree]:
        """Within this, what is not aimed yet computes as if it were, at what `pick` makes of the inputs that
        sites read first; where it would begin."""

    def leaks(self) -> Mapping[str, float]:
        """What rounding lets through at each site."""

    def reading(self, sites: Collection[str] | None = None) -> AbstractContextManager[Reads]:
        """Within this, what these sites read is looked at; None: all of them."""
