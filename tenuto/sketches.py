"""Sketches: what a stream of rows spans, in memory that does not grow, one sketch for each site.

Two that can stand in for each other: Frequent Directions, which merges rows and shrinks (Liberty 2013), and
Gram-Schmidt, which admits a row where little of it lies in what is held, and replaces what is least used.
Sums are float64 where they decide, what is kept is float32.

The invariant: a row that is not finite, or has no length, leaves a sketch as it is.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from tenuto.errors import ConfigError, StateError
from tenuto.subspace import ORTHONORMAL, remove, skew
from tenuto.types import State

KINDS = ("frequent_directions", "gram_schmidt")
NOTHING = 1e-12
"""A row that is no longer has no direction."""
WINDOW, PARTS = 1000, 10
"""Updates over which use is counted, and in how many parts the oldest are forgotten."""


class Sketch(Protocol):
    """At most `size` rows that stand for all rows seen."""

    size: int

    def add(self, rows: Tensor) -> None:
        """See rows (n, d)."""

    def rows(self) -> Tensor:
        """The sketch (at most `size`, d), each row as long as the root of the energy it stands for."""

    def state(self) -> State:
        """As plain data."""

    def load_state(self, state: State) -> None:
        """Take a saved one. StateError where it is of another size."""


def sketch(kind: str, *, size: int, width: int, novelty: float = 0.5) -> Sketch:
    """A new sketch of rows (n, width), of one of `KINDS`; `novelty` as of `GramSchmidt`.

    Raises:
        ConfigError: there is no such kind.

    >>> sketch("gram_schmidt", size=2, width=3).rows().shape
    torch.Size([0, 3])
    """
    if kind == "frequent_directions":
        return FrequentDirections(size=size, width=width)
    if kind == "gram_schmidt":
        return GramSchmidt(size=size, width=width, novelty=novelty)
    raise ConfigError(f"a sketch is one of {', '.join(KINDS)}, not {kind!r}")


class FrequentDirections:
    """A sketch B (size, d) of every row A seen so far (Liberty 2013), in memory that does not grow.

        0 <= |A x|^2 - |B x|^2 <= |A|^2 / (size + 1) for every unit x

    Rows are put in a buffer of twice the size; when it is full, the squares of its singular values are
    lessened by that of the first one beyond `size`, which empties half of it.

    Args:
        size: directions kept, at least 1.
        width: d, what a row holds.

    >>> sketch = FrequentDirections(size=2, width=3)
    >>> sketch.add(torch.eye(3)[[0, 0, 0, 1]])
    >>> (sketch.rows().T @ sketch.rows()).diagonal()
    tensor([3., 1., 0.])
    """

    def __init__(self, *, size: int, width: int) -> None:
        self.size = size
        self._buffer = torch.zeros(2 * size, width)
        self._filled = 0

    def add(self, rows: Tensor) -> None:
        """See rows (n, d)."""
        rows = _sound(rows, self._buffer)
        while len(rows):
            if self._filled == len(self._buffer):
                kept = self._shrunk()
                self._buffer[: len(kept)], self._buffer[len(kept) :] = kept, 0.0
                self._filled = len(kept)
            some = rows[: len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(some)] = some
            self._filled += len(some)
            rows = rows[len(some) :]

    def rows(self) -> Tensor:
        """The sketch (at most `size`, d); asking for it changes nothing."""
        return self._shrunk() if self._filled > self.size else self._buffer[: self._filled].clone()

    def _shrunk(self) -> Tensor:
        filled = self._buffer[: self._filled]
        exact = filled.double()
        if len(filled) > filled.shape[1]:
            squares, directions = _leading(exact.T @ exact)
            kept = (squares - self._least(squares)).clamp(min=0).sqrt()[: self.size]
            return (kept[:, None] * directions[: self.size]).to(filled)
        squares, mixed = _leading(exact @ exact.T)
        left = (1 - self._least(squares) / squares.clamp(min=torch.finfo(torch.double).tiny)).clamp(min=0)
        return (left.sqrt()[:, None] * mixed)[: self.size].to(filled) @ filled

    def _least(self, squares: Tensor) -> Tensor:
        """The square of the first singular value beyond the size."""
        return squares[self.size] if len(squares) > self.size else squares.new_zeros(())

    def state(self) -> State:
        """The buffer, and how much of it is filled."""
        return {"buffer": self._buffer, "filled": self._filled}

    def load_state(self, state: State) -> None:
        """Take a saved buffer. StateError where it is of another size."""
        if state["buffer"].shape != self._buffer.shape:
            raise StateError(
                f"the saved sketch is {tuple(state['buffer'].shape)}, this one {tuple(self._buffer.shape)}"
            )
        self._buffer, self._filled = state["buffer"].clone(), int(state["filled"])


class GramSchmidt:
    """Orthonormal directions (at most `size`, d) of rows that were novel when they came.

    A row x, of length 1 or what of one a basis leaves, is admitted where |x - Q^T Q x| >= novelty for the
    directions Q held. When there is no room, it takes the place of the one least used: use is the energy of
    rows along a direction over the last 1000 updates (calls of `add`), in steps of 100.

    Args:
        size: directions kept, at least 1.
        width: d, what a row holds.
        novelty: length of the part of a unit row that must be new.

    >>> basis = GramSchmidt(size=2, width=3)
    >>> basis.add(torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.99, 0.0, 0.1]]))
    >>> basis.directions
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """

    def __init__(self, *, size: int, width: int, novelty: float = 0.5) -> None:
        self.size, self.novelty = size, novelty
        self.replaced = 0
        self._slots = torch.zeros(size, width)
        self._held = 0
        self._use = torch.zeros(PARTS, size, dtype=torch.float64)
        self._updates = 0

    @property
    def directions(self) -> Tensor:
        """Those held (k, d), orthonormal rows."""
        return self._slots[: self._held]

    def add(self, rows: Tensor) -> None:
        """See rows (n, d), one update."""
        part, first = divmod(self._updates % WINDOW, WINDOW // PARTS)
        if not first:
            self._use[part] = 0.0
        self._updates += 1
        rows = _sound(rows, self._slots)
        left = self._outside(rows)
        for row in range(len(rows)):
            if float(left[row].norm()) >= self.novelty:
                self._admit(rows[row : row + 1])
                left[row + 1 :] = self._outside(rows[row + 1 :])
            along = (self.directions @ rows[row]).double().square()
            self._use[part, : self._held] += along

    def rows(self) -> Tensor:
        """The directions, each as long as the root of its use; asking for them changes nothing."""
        return self.directions * self._used()[: self._held].sqrt().to(self._slots)[:, None]

    def state(self) -> State:
        """The directions, their use and the counts."""
        counts = {"held": self._held, "updates": self._updates, "replaced": self.replaced}
        return {"slots": self._slots, "use": self._use, **counts}

    def load_state(self, state: State) -> None:
        """Take saved directions. StateError where they are of another size or not finite."""
        slots = state["slots"]
        if slots.shape != self._slots.shape or not bool(slots.isfinite().all()):
            raise StateError(
                f"the saved directions are {tuple(slots.shape)}, or not finite; these "
                f"{tuple(self._slots.shape)}"
            )
        self._slots, self._use = slots.clone(), state["use"].clone()
        self._held, self._updates = int(state["held"]), int(state["updates"])
        self.replaced = int(state["replaced"])
        self._repair()

    def _used(self) -> Tensor:
        return self._use.sum(0)

    def _outside(self, rows: Tensor) -> Tensor:
        """What of rows no direction holds: Gram-Schmidt, twice."""
        basis = self.directions.T
        return remove(remove(rows, basis), basis)

    def _admit(self, row: Tensor) -> None:
        """Hold what of a row (1, d) is new, in place of the least used direction where there is no room."""
        if self._held < self.size:
            slot, self._held = self._held, self._held + 1
        else:
            slot, self.replaced = int(self._used().argmin()), self.replaced + 1
        self._slots[slot], self._use[:, slot] = 0.0, 0.0
        fresh = self._outside(row)
        self._slots[slot] = fresh / fresh.norm()
        others = self.directions @ self._slots[slot]
        others[slot] = 0.0
        if float(others.abs().max()) >= ORTHONORMAL:
            self._repair()

    def _repair(self) -> None:
        """Make the directions orthonormal anew, in float64 and each in its place, where they are not."""
        if skew(self.directions.T) >= ORTHONORMAL:
            exact, mixed = torch.linalg.qr(self.directions.T.double())
            self._slots[: self._held] = (exact * mixed.diagonal().sign()).T.to(self._slots)


def _sound(rows: Tensor, like: Tensor) -> Tensor:
    """Those rows that are finite and have a length, as float32 beside the sketch."""
    rows = rows.detach().to(like)
    lengths = rows.norm(dim=1)
    return rows[(lengths > NOTHING) & lengths.isfinite()]


def _leading(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues in descending order and eigenvectors, as rows, of a Gram matrix in float64."""
    squares, directions = torch.linalg.eigh(gram)
    return squares.flip(0).clamp(min=0), directions.T.flip(0)
