"""IDX, the format of MNIST: a big-endian header, then the bytes of one array; the labels lie beside it.

0 0 <dtype> <dimensions>, then one 32-bit size per dimension (LeCun, 1998)
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from tenuto.errors import StreamError
from tenuto.streams.arrays import Arrays
from tenuto.streams.source import BROKEN, reading

_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def labels(path: Path) -> Path | None:
    """The file beside `path` that holds its labels, gzipped or not; None where there is none."""
    name = path.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    beside = (path.with_name(name), path.with_name(name + ".gz"))
    return next((one for one in beside if one != path and one.exists()), None)


def load(path: Path, beside: Path | None) -> Arrays:
    """The inputs at `path` with the labels at `beside`.

    Raises:
        StreamError: a file is no IDX file or is cut, or the two have not the same number of rows.
    """
    inputs = read(path)
    targets = None if beside is None else read(beside)
    if targets is not None and targets.shape != inputs.shape[:1]:
        raise StreamError(
            f"{path} holds {len(inputs)} rows and {beside} labels of shape {targets.shape}; "
            "fetch the pair that belongs together"
        )
    return Arrays(
        inputs=inputs if inputs.ndim > 1 else inputs.reshape(-1, 1),
        targets=None if targets is None else targets.tolist(),
    )


def read(path: Path) -> np.ndarray:
    """The array of an IDX file, in native byte order.

    Raises:
        StreamError: it is no IDX file, or is cut.
    """
    with reading(path) as file:
        try:
            content = bytearray(file.read())
        except BROKEN as error:
            raise StreamError(f"{path} is cut or damaged ({error}); fetch the file again") from error
    if not content:
        raise StreamError(f"{path} is empty; fetch the file again")
    dtype, count = (_DTYPES.get(content[2]), content[3]) if len(content) > 3 else (None, 0)
    start = 4 + 4 * count
    if content[:2] != b"\0\0" or dtype is None or not count or len(content) < start:
        raise StreamError(f"{path} is no IDX file: it begins with {bytes(content[:4])!r}; check what it is")
    shape = struct.unpack(f">{count}I", content[4:start])
    size, found = math.prod(shape) * np.dtype(dtype).itemsize, len(content) - start
    if size != found:
        raise StreamError(
            f"{path} is cut or damaged: its header promises {shape[0]} rows in {size} bytes, "
            f"{found} are there; fetch the file again"
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
