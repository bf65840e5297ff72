"""A preallocated table of rows: one tensor per column, written by scatter and read by gather.

Columns appear with the first row that has them, in the dtype it came in; rows without one hold its
`fill`. A column whose rows grow wider (stored logits, when a class appears) is widened with zeros.
The table never exceeds its capacity; an unbounded one doubles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from tenuto.errors import ConfigError, StateError
from tenuto.types import State

_NUMPY = frozenset({torch.float32, torch.float64, torch.int64, torch.uint8})


class Table:
    """Rows in slots.

    Args:
        capacity: rows at most; None: no bound.
        fill: what a row without an optional column holds there.

    >>> table = Table(capacity=4)
    >>> table.put([0, 1], {"x": torch.tensor([[1.0], [2.0]])})
    >>> table.get(torch.tensor([1]))["x"]
    tensor([[2.]])
    """

    def __init__(self, capacity: int | None, fill: Mapping[str, float] | None = None) -> None:
        self.capacity = capacity
        self.fill = dict(fill or {})
        self.count = 0
        self.columns: dict[str, Tensor] = {}
        self._views: dict[str, NDArray[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy's columns have storage of their own, so the views of these do not go with it."""
        return {**vars(self), "_views": {}}

    def put(self, slots: list[int], rows: Mapping[str, Tensor], which: list[int] | None = None) -> None:
        """Write rows (n, ...), or those of them that `which` numbers, into distinct slots.

        One or two are written as they are: that is cheaper than making tensors of their numbers.
        """
        n, top = len(slots), max(slots) + 1
        which = which or list(range(n))
        for name, values in rows.items():
            column = self._room(name, values, top)
            if n > 2:
                column.index_copy_(0, torch.tensor(slots), values.index_select(0, torch.tensor(which)))
                continue
            for slot, row in zip(slots, which, strict=True):
                column[slot] = values[row]
        for name in self.columns.keys() - rows.keys():
            self.columns[name].index_fill_(0, torch.tensor(slots), self.fill[name])
        self.count = max(self.count, top)

    def put_run(self, first: int, top: int, rows: Mapping[str, Tensor]) -> None:
        """Write rows into the slots first .. top - 1; numpy's assignment costs a third of torch's."""
        for name, values in rows.items():
            column = self.columns.get(name)
            if column is None or top > self.count or values.shape[1:] != column.shape[1:]:
                column = self._room(name, values, top)
            if values.dtype in _NUMPY and values.is_cpu and not values.requires_grad:
                view = self._views.get(name)
                if view is None:
                    view = self._views[name] = column.numpy()
                view[first:top] = values.numpy()
            else:
                column[first:top] = values
        if len(self.columns) > len(rows):
            for name in self.columns.keys() - rows.keys():
                self.columns[name][first:top] = self.fill[name]
        self.count = max(self.count, top)

    def get(self, slots: Tensor) -> dict[str, Tensor]:
        """Copies of the rows in slots (k,)."""
        return {name: column.index_select(0, slots) for name, column in self.columns.items()}

    def fitting(self, sizes: Mapping[str, int], most: int, *, beside: int) -> int:
        """How many rows fit into `most` bytes: each column as wide as it is, or as one of these sizes.

        Args:
            sizes: bytes of a row by column.
            beside: bytes that lie beside a row.

        Raises:
            ConfigError: none does.
        """
        held = {name: column[:1].nbytes for name, column in self.columns.items()}
        row = sum(max(held.get(name, 0), sizes.get(name, 0)) for name in held.keys() | sizes.keys()) + beside
        if most < row:
            raise ConfigError(f"memory_bytes is {most}, and one row here takes {row}: raise it")
        return most // row

    def keep(self, stay: list[int], capacity: int | None = None) -> None:
        """Slot i holds what lay in slot stay[i]; the others are gone.

        Args:
            stay: distinct slots.
            capacity: rows held from now on; None: as many as before.
        """
        into = [new for new, old in enumerate(stay) if new != old]
        moved = torch.tensor([stay[new] for new in into], dtype=torch.int64)
        for name, column in self.columns.items() if stay else ():
            if into:
                column.index_copy_(0, torch.tensor(into), column.index_select(0, moved))
            if capacity is not None and capacity < len(column):
                self.columns[name] = column[:capacity].clone()
        self.columns = self.columns if stay else {}
        self.count, self._views = len(stay), {}
        self.capacity = self.capacity if capacity is None else capacity

    def inputs(self, slots: Tensor) -> Tensor:
        """The inputs (k, *shape) in slots (k,)."""
        return self.columns["inputs"].index_select(0, slots)

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of inputs; None while there are none."""
        return self.columns["inputs"].dtype if "inputs" in self.columns else None

    @property
    def loss(self) -> float:
        """The share of inputs that is lost by how they are kept: none."""
        return 0.0

    def state(self) -> State:
        """The filled part of every column."""
        return {"columns": {name: column[: self.count] for name, column in self.columns.items()}}

    def load_state(self, state: State) -> None:
        """Take saved columns."""
        columns: dict[str, Tensor] = state["columns"]
        counts = {len(column) for column in columns.values()}
        if len(counts) > 1 or (self.capacity is not None and any(n > self.capacity for n in counts)):
            raise StateError(
                f"memory columns of {sorted(counts)} rows do not fit a capacity of {self.capacity}"
            )
        self.columns, self._views, self.count = {}, {}, 0
        if counts and (n := counts.pop()):
            self._write(n, columns)

    def _write(self, n: int, columns: Mapping[str, Tensor]) -> None:
        """Take columns (n, ...) as they were kept."""
        self.put_run(0, n, columns)

    def _room(self, name: str, values: Tensor, top: int) -> Tensor:
        self._views.pop(name, None)
        column = self.columns.get(name)
        if column is None:
            rows = self.capacity if self.capacity is not None else max(1024, top)
            column = values.new_full((rows, *values.shape[1:]), self.fill.get(name, 0))
            self.columns[name] = column
        if column.shape[1:] != values.shape[1:]:
            column = self.columns[name] = _widened(column, values)
        if top > len(column):
            column = self.columns[name] = torch.cat([column, column.new_zeros((top, *column.shape[1:]))])
        return column


def _widened(column: Tensor, values: Tensor) -> Tensor:
    wide = column.new_zeros((len(column), *values.shape[1:]))
    wide[:, : column.shape[1]] = column
    return wide
