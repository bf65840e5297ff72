"""A table that keeps inputs as coordinates: k numbers each, in a basis of the rows' leading directions.

    x ~ M c,   c = M^T x,   M = the first k right singular vectors of a sketch of every row that was put

Principal components about zero, on a stream: the sketch (Frequent Directions; Liberty 2013) remembers the
directions of early rows as well as of late ones, so a basis that follows new rows still holds the old. It is
found after 2 k rows, which are kept whole until then, and again with every k more; rows that are held are
then expressed in the new one. What a row loses is noted when it is put.

The invariant: rows come out in the shape and dtype they went in with, and the loss is told, never hidden.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from tenuto.errors import StateError
from tenuto.memory.table import Table
from tenuto.sketches import FrequentDirections
from tenuto.types import State

PACE = 0.01
"""Of the running mean of the loss: about the last 100 rows."""


class Compressed(Table):
    """Rows in slots, whose inputs are kept as few numbers.

    Args:
        components: k, numbers kept of an input; one of fewer numbers is kept as it is.
        capacity, fill: as for a `Table`.

    >>> table = Compressed(8, {}, components=1)
    >>> line = torch.tensor([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    >>> table.put([0, 1, 2], {"inputs": line})
    >>> table.columns["inputs"].shape, table.get(torch.tensor([1]))["inputs"].round(), round(table.loss, 6)
    (torch.Size([8, 1]), tensor([[2., 4.]]), 0.0)
    """

    def __init__(self, capacity: int | None, fill: Mapping[str, float], components: int) -> None:
        super().__init__(capacity, fill)
        self._components = components
        self._form: tuple[torch.dtype, tuple[int, ...]] | None = None
        self._sketch = FrequentDirections(size=1, width=1)
        self._basis: Tensor | None = None
        self._seen = 0
        self._loss: float | None = None

    @property
    def loss(self) -> float:
        """The share |x - M c|^2 / |x|^2 that rows lost when they were put, the mean of about the last 100."""
        return self._loss or 0.0

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype inputs came in."""
        return None if self._form is None else self._form[0]

    def put(self, slots: list[int], rows: Mapping[str, Tensor], which: list[int] | None = None) -> None:
        """Write rows (n, ...), or those of them that `which` numbers, into distinct slots."""
        if which is not None:
            rows = {name: values[which] for name, values in rows.items()}
        super().put(slots, {**rows, "inputs": self._coded(rows["inputs"])})

    def put_run(self, first: int, top: int, rows: Mapping[str, Tensor]) -> None:
        """Write rows into the slots first .. top - 1."""
        super().put_run(first, top, {**rows, "inputs": self._coded(rows["inputs"])})

    def get(self, slots: Tensor) -> dict[str, Tensor]:
        """Copies of the rows in slots (k,), inputs as they are remembered."""
        return {**super().get(slots), "inputs": self.inputs(slots)}

    def inputs(self, slots: Tensor) -> Tensor:
        """The inputs (k, *shape) in slots (k,)."""
        codes = super().inputs(slots)
        if self._form is None:
            return codes
        dtype, shape = self._form
        found = (codes if self._basis is None else codes @ self._basis.T).view(-1, *shape)
        if dtype.is_floating_point:
            return found.to(dtype)
        return found.round().clamp(torch.iinfo(dtype).min, torch.iinfo(dtype).max).to(dtype)

    def _coded(self, inputs: Tensor) -> Tensor:
        """Rows (n, *shape) as they are kept, after the basis has followed them."""
        if self._form is None:
            self._begin(inputs.dtype, tuple(inputs.shape[1:]))
        rows = inputs.detach().flatten(1).to("cpu", torch.float32)
        first, self._seen = self._seen, self._seen + len(rows)
        self._sketch.add(rows)
        whole = 2 * self._components
        if self._seen >= whole and (
            first < whole or first // self._components < self._seen // self._components
        ):
            self._follow()
        if self._basis is None:
            return rows
        codes = rows @ self._basis
        for share in (1 - codes.square().sum(1) / rows.square().sum(1)).nan_to_num(0.0).clamp(0, 1).tolist():
            self._loss = share if self._loss is None else self._loss + PACE * (share - self._loss)
        return codes

    def _begin(self, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        """The form of the first row is that of all."""
        self._form = dtype, shape
        self._sketch = FrequentDirections(size=2 * self._components, width=math.prod(shape))

    def _follow(self) -> None:
        """Find the basis anew, and express in it what is held."""
        _, _, directions = torch.linalg.svd(self._sketch.rows().double(), full_matrices=False)
        basis = directions[: self._components].T.float().contiguous()
        turn = basis if self._basis is None else self._basis.T @ basis
        self._basis = basis
        column = self.columns.pop("inputs", None)
        self._views.pop("inputs", None)
        if column is not None:
            codes = column[: self.count] @ turn
            self._room("inputs", codes, self.count)[: self.count] = codes

    def _room(self, name: str, values: Tensor, top: int) -> Tensor:
        """Few rows are ever kept whole, so no more room is made for them."""
        if name != "inputs" or self._basis is not None or self.capacity is None:
            return super()._room(name, values, top)
        full, self.capacity = self.capacity, max(top, min(self.capacity, 2 * self._components))
        try:
            return super()._room(name, values, top)
        finally:
            self.capacity = full

    def _write(self, n: int, columns: Mapping[str, Tensor]) -> None:
        super().put_run(0, n, columns)

    def state(self) -> State:
        """The filled part of every column, and how inputs are read from it."""
        if self._form is None:
            return super().state()
        dtype, shape = self._form
        codec: State = {
            "dtype": str(dtype).removeprefix("torch."),
            "shape": list(shape),
            "sketch": self._sketch.state(),
            "basis": self._basis,
            "seen": self._seen,
            "loss": self._loss,
        }
        return {**super().state(), "codec": codec}

    def load_state(self, state: State) -> None:
        """Take saved columns. StateError where they were not kept so."""
        codec = state.get("codec")
        if codec is None and state["columns"]:
            raise StateError("the saved memory keeps inputs whole, this one compressed")
        self._form, self._basis, self._seen, self._loss = None, None, 0, None
        if codec is not None:
            self._begin(getattr(torch, codec["dtype"]), tuple(codec["shape"]))
            self._sketch.load_state(codec["sketch"])
            self._basis = None if codec["basis"] is None else codec["basis"].clone()
            self._seen, self._loss = int(codec["seen"]), codec["loss"]
        super().load_state(state)
