"""How an example lies in the journal, and how journal rows become a batch.

A body is a msgpack array: format, dtype, shape, the input's bytes, target, domain, level, weight,
derived_from. The invariant: equal examples give equal bytes. The id, the source and the principal are
columns of the journal and no part of a body; `last_loss` is a note of the learner's and is not kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tenuto.errors import ExampleError, MalformedRow
from tenuto.streams.body import Body, read
from tenuto.streams.values import NAMES, Target, as_array, as_target, short
from tenuto.types import Batch, OnlineExample

if TYPE_CHECKING:
    from torch import Tensor


_encoder = msgspec.msgpack.Encoder()


def encode(example: OnlineExample) -> bytes:
    """The body of an example.

    Raises:
        ExampleError: its input is not numbers in equal rows, or a value does not fit the format.

    >>> len(encode(OnlineExample(input=[0.5, 1.0], target="cat")))
    38
    """
    input = example.input
    name = NAMES.get(input.dtype) if type(input) is np.ndarray else None
    if name is None or not input.shape or not input.size:
        input = as_array(input)
        name = NAMES[input.dtype]
    target = example.target
    if target is not None and type(target) is not int and type(target) is not str:
        target = as_target(target)
    domain, level, derived_from = example.domain, example.level, example.derived_from
    try:
        return _encoder.encode(
            Body(
                name,
                input.shape,
                input.tobytes(),
                target,
                None if domain is None else _text("domain", domain),
                None if level is None else float(level) + 0.0,
                float(example.weight),
                tuple(_text("derived_from", one) for one in derived_from) if derived_from else (),
            )
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise ExampleError(
            f"a row cannot be written down: {error}; labels are whole numbers of 64 bits or text, "
            "level and weight are numbers, derived_from is a tuple of ids"
        ) from error


def decode(body: bytes) -> OnlineExample:
    """The example of a body; its input is an ndarray of its own.

    Raises:
        MalformedRow: the body is damaged.

    >>> decode(encode(OnlineExample(input=[0.5, 1.0], target="cat"))).input
    array([0.5, 1. ], dtype=float32)
    """
    row = _read([body])[0]
    return OnlineExample(
        input=np.frombuffer(bytearray(row.raw), row.dtype).reshape(row.shape),
        target=row.target,
        domain=row.domain,
        level=row.level,
        weight=row.weight,
        derived_from=row.derived_from,
    )


def collate(bodies: Sequence[bytes], *, numbers: bool = False) -> Batch:
    """Bodies side by side as one batch, copied once.

    Rows of several dtypes take the one torch promotes them to. Targets are a list of labels (None
    where one is missing), or a float32 tensor (n,) or (n, k).

    Args:
        numbers: make a tensor of whole numbers too: what regression wants.

    Raises:
        MalformedRow: a body is damaged.
        ExampleError: rows of several shapes, or targets that do not go together.

    >>> batch = collate([encode(OnlineExample(input=[0.5, 1.0], target=t)) for t in ("cat", "dog")])
    >>> batch.inputs.shape, batch.targets
    (torch.Size([2, 2]), ['cat', 'dog'])
    """
    if not bodies:
        raise ExampleError("there are no rows to put side by side; a batch has at least one")
    return Block(bodies, numbers=numbers).batch(0, len(bodies))


class Block:
    """Bodies decoded together, to be taken as batches: each the same as `collate` of its own bodies.

    Args:
        bodies: of the rows, in order.
        numbers: as for `collate`.

    Raises:
        MalformedRow: a body is damaged.
    """

    def __init__(self, bodies: Sequence[bytes], *, numbers: bool = False) -> None:
        self._rows = _read(bodies)
        self._numbers = numbers
        alike = len({(row.dtype, row.shape) for row in self._rows}) == 1
        self._inputs = _inputs(self._rows) if alike else None

    def batch(self, start: int, stop: int) -> Batch:
        """The rows from start to stop. Raises ExampleError where they do not go together."""
        import torch

        rows = self._rows[start:stop]
        weights = [row.weight for row in rows]
        domains = [row.domain for row in rows]
        return Batch(
            _inputs(rows) if self._inputs is None else self._inputs[start:stop],
            _targets([row.target for row in rows], self._numbers),
            None if weights.count(1.0) == len(weights) else torch.tensor(weights, dtype=torch.float32),
            None if domains.count(None) == len(domains) else domains,
        )


def _read(bodies: Sequence[bytes]) -> list[Body]:
    rows: list[Body] = []
    try:
        for body in bodies:
            rows.append(read(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRow(_damaged(len(rows), len(bodies), error)) from error
    for layout in {(row.dtype, row.shape, len(row.raw)) for row in rows}:
        dtype, shape, size = layout
        if (
            dtype not in NAMES.values()
            or min(shape, default=0) < 1
            or np.dtype(dtype).itemsize * math.prod(shape) != size
        ):
            index = next(i for i, row in enumerate(rows) if (row.dtype, row.shape, len(row.raw)) == layout)
            fault = f"{size} bytes are no {dtype} array of shape {shape}"
            raise MalformedRow(_damaged(index, len(bodies), fault))
    return rows


def _damaged(index: int, count: int, fault: object) -> str:
    return f"body {index} of {count} is damaged ({fault}); run `tenuto verify`, or send the row again"


def _inputs(rows: list[Body]) -> Tensor:
    import torch

    shape, dtype = rows[0].shape, rows[0].dtype
    for index, row in enumerate(rows):
        if row.shape != shape:
            raise ExampleError(
                f"row {index} has an input of shape {row.shape} and row 0 one of {shape}; "
                "rows of a batch have one shape"
            )
    if all(row.dtype == dtype for row in rows):
        joined = bytearray().join([row.raw for row in rows])
        return torch.frombuffer(joined, dtype=getattr(torch, dtype)).view(len(rows), *shape)
    parts = [torch.frombuffer(bytearray(row.raw), dtype=getattr(torch, row.dtype)) for row in rows]
    common = parts[0].dtype
    for part in parts:
        common = torch.promote_types(common, part.dtype)
    return torch.stack([part.to(common) for part in parts]).view(len(rows), *shape)


def _targets(targets: list[Target], numbers: bool) -> Any:
    import torch

    kinds = set(map(type, targets))
    if kinds <= {int, str, type(None)} and not numbers:
        return targets
    lengths = {len(target) for target in targets if isinstance(target, list)}
    if kinds <= {int, float} or (kinds == {list} and len(lengths) == 1):
        return torch.tensor(targets, dtype=torch.float32)
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ExampleError(
        f"targets of kinds {names}{f' and lengths {sorted(lengths)}' if lengths else ''} do not go together; "
        "a batch holds labels, or numbers, or vectors of one length"
    )


def _text(field: str, value: object) -> str:
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{field} holds {short(value)}, which is no text")
