"""Neighbours: rows that belong to an adapter are those like a row that it learned, and unlike ordinary ones.

    s(x) = max_i cos(x - m, r_i - m),   m the mean of strangers

For adapters that learn a few rows each, as corrections: every row stands for itself (as in SERAC's memory of
edits, Mitchell et al. 2022). A row is known where s is beyond the conformal quantile (Vovk et al. 2005) of
the strangers' own, so that of ordinary rows a share of `wrong` is let in, whatever the embedding.

The invariant: embeddings do not move, so that the order of the rows does not matter and nothing is forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional as F

from tenuto.adapters.embeddings import checked
from tenuto.errors import ConfigError
from tenuto.types import State


class Neighbours:
    """Adapters by the rows they learned, each row for itself.

    Args:
        wrong: the share of ordinary rows that may be taken for known ones.

    >>> router = Neighbours(wrong=0.25)
    >>> router.set_apart(torch.tensor([[0.0, 1.0], [0.0, -1.0], [-1.0, 0.0], [0.5, 0.4]]))
    >>> router.note("corrections", torch.tensor([[1.0, 0.1]]), torch.zeros(1))
    >>> router.route(torch.tensor([[0.9, 0.1], [-1.0, 0.2]]))
    ['corrections', None]
    """

    def __init__(self, *, wrong: float) -> None:
        self._wrong = wrong
        self._rows = torch.zeros(0, 0)
        self._owners: list[str] = []
        self._strangers = torch.zeros(0, 0)
        self._threshold: float | None = None

    @property
    def names(self) -> list[str]:
        """The adapters that have learned rows, in the order in which they began."""
        return list(dict.fromkeys(self._owners))

    def set_apart(self, rows: Tensor) -> None:
        """Rows (n, d) that no adapter is to answer."""
        self._strangers, self._threshold = rows.detach().float().cpu(), None

    def note(self, name: str, rows: Tensor, groups: Tensor) -> None:
        """Rows (n, d) were learned by an adapter; their groups (n,) do not matter here.

        Raises:
            ConfigError: they are not as long as earlier ones, or not finite.
        """
        rows = checked(rows, self._rows.shape[1] if len(self._rows) else None, torch.float32)
        self._rows = torch.cat([self._rows, rows]) if len(self._rows) else rows
        self._owners += [name] * len(rows)
        self._threshold = None

    def nearest(self, rows: Tensor, without: Collection[str] = ()) -> list[str]:
        """For rows (n, d) the adapter of the learned row most like it, of those that are not left out."""
        barred, alike = torch.tensor([owner in without for owner in self._owners]), self._alike(rows)
        if bool(barred.all()):
            raise ConfigError("every adapter that learned rows is retired: there is none to answer")
        best = alike.masked_fill(barred, -torch.inf).argmax(1)
        return [self._owners[row] for row in best.tolist()]

    def strange(self, rows: Tensor) -> Tensor:
        """Which of the rows (n, d) are no more like what was learned than ordinary ones are: (n,) bool."""
        return self._alike(rows).amax(1) <= self.threshold

    def route(self, rows: Tensor, without: Collection[str] = ()) -> list[str | None]:
        """For rows (n, d) the adapter that is to answer, or None where none is."""
        told = zip(self.nearest(rows, without), self.strange(rows).tolist(), strict=True)
        return [None if strange else name for name, strange in told]

    @property
    def threshold(self) -> float:
        """The likeness beyond which a row is known; -1 where no strangers were set apart."""
        if self._threshold is None:
            count = len(self._strangers)
            place = min(count, math.ceil((1 - self._wrong) * (count + 1)))
            known = count > 0 and len(self._rows) > 0
            likest = self._alike(self._strangers).amax(1).sort().values if known else None
            self._threshold = -1.0 if likest is None else float(likest[max(place, 1) - 1])
        return self._threshold

    def _alike(self, rows: Tensor) -> Tensor:
        """The cosine (n, k) of rows (n, d) with every learned one, seen from the strangers' mean."""
        if not len(self._rows):
            raise ConfigError("the router knows no row yet: let an adapter learn some first")
        mean = self._strangers.mean(0) if len(self._strangers) else torch.zeros(self._rows.shape[1])
        asked = F.normalize(rows.detach().float().cpu() - mean, dim=1)
        return asked @ F.normalize(self._rows - mean, dim=1).T

    def state(self) -> State:
        """The rows, whose they are, and the strangers."""
        return {"rows": self._rows, "owners": list(self._owners), "strangers": self._strangers}

    def load_state(self, state: State) -> None:
        """Take a saved state."""
        self._rows, self._strangers = state["rows"].clone(), state["strangers"].clone()
        self._owners = [str(name) for name in state["owners"]]
        self._threshold = None
