"""Tensors as safetensors files named by the sha256 of their content: `blobs/ab/cdef...`.

One tensor per blob; one larger than CHUNK_BYTES is cut along its first dimension, so that the part of a
large memory that did not change is neither written nor kept twice. What a blob's name promises is checked
whenever it is read. Torch is imported only to turn blobs into tensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenuto.errors import CorruptHome, StateError
from tenuto.store.disk import RESTORE, Content, Disk

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

CHUNK_BYTES = 4 << 20
NAME = "tensor"
DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}
"""The dtypes a blob may hold, by torch's and by safetensors' name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ref:
    """A tensor by its blobs.

    Args:
        dtype: torch's name of it, as "float32".
        shape: of the whole tensor.
        rows: of its first dimension in each blob but the last; 0: one blob holds all.
        blobs: sha256 of each, in order.
    """

    dtype: str
    shape: tuple[int, ...]
    rows: int
    blobs: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return {"dtype": self.dtype, "shape": [*self.shape], "rows": self.rows, "blobs": [*self.blobs]}

    @classmethod
    def parse(cls, plain: object) -> Ref:
        """From JSON data. Raises CorruptHome when it is no reference."""
        match plain:
            case {"dtype": str(dtype), "shape": [*shape], "rows": int(rows), "blobs": [*blobs]} if (
                dtype in DTYPES
                and all(type(size) is int and size >= 0 for size in shape)
                and all(isinstance(blob, str) and len(blob) == 64 and blob.isalnum() for blob in blobs)
                and len(blobs) == len(_cuts(shape, rows))
            ):
                return cls(dtype=dtype, shape=tuple(shape), rows=rows, blobs=tuple(blobs))
        raise CorruptHome(f"{str(plain)[:200]} is no reference to a tensor. {RESTORE}")


class Blobs:
    """A folder of blobs.

    >>> import tempfile, torch
    >>> blobs = Blobs(Path(tempfile.mkdtemp()), Disk())
    >>> ref = blobs.put({"w": torch.tensor([1.0, float("nan")])})["w"]
    >>> blobs.get(ref)
    tensor([1., nan])
    """

    def __init__(self, root: Path, disk: Disk) -> None:
        self.root = root
        self._disk = disk

    def put(self, tensors: Mapping[str, Tensor | np.ndarray[Any, Any]]) -> dict[str, Ref]:
        """Write what is not there yet; durable on return. Raises StateError, OutOfSpace."""
        refs: dict[str, Ref] = {}
        self._disk.write_all(self._missing(tensors, refs))
        return refs

    def get(self, ref: Ref) -> Tensor:
        """The tensor, in memory of its own, on the CPU. Raises CorruptHome."""
        import torch

        whole = torch.empty(ref.shape, dtype=getattr(torch, ref.dtype))
        for blob, rows in zip(ref.blobs, _cuts(ref.shape, ref.rows), strict=True):
            part = whole[rows] if ref.rows else whole
            held = self._load(blob)
            if held.shape != part.shape or held.dtype != part.dtype:
                raise CorruptHome(
                    f"{self.path(blob)} holds {held.dtype} of shape {tuple(held.shape)}; its manifest says "
                    f"{part.dtype} of shape {tuple(part.shape)}. {RESTORE}"
                )
            part.copy_(held)
        return whole

    def verify(self, names: Iterable[str]) -> None:
        """Read blobs and check them against their names. Raises CorruptHome."""
        for name in names:
            self._read(name)

    def collect(self, reachable: Iterable[str], *, durable: bool = False) -> int:
        """Delete every blob that is not named, and what a crash left half written; how many blobs.

        Args:
            durable: no power cut may bring back any blob deleted now or earlier.
        """
        kept = set(reachable)
        deleted = 0
        folders = self._disk.names(self.root)
        for folder in folders:
            self._disk.sweep(self.root / folder)
            for rest in self._disk.names(self.root / folder):
                if folder + rest not in kept:
                    self._disk.delete(self.root / folder / rest)
                    deleted += 1
        if durable:
            self._disk.sync(*(self.root / folder for folder in folders))
        return deleted

    def names(self) -> list[str]:
        """Every blob there is."""
        folders = self._disk.names(self.root)
        return [folder + rest for folder in folders for rest in self._disk.names(self.root / folder)]

    def path(self, name: str) -> Path:
        """Where a blob lies."""
        return self.root / name[:2] / name[2:]

    def _missing(self, tensors: Mapping[str, Any], refs: dict[str, Ref]) -> Iterator[tuple[Path, Content]]:
        new: set[str] = set()
        for key, tensor in tensors.items():
            ref, parts = describe(key, tensor)
            refs[key] = ref
            for name, content in zip(ref.blobs, parts, strict=True):
                path = self.path(name)
                if name in new:
                    continue
                if self._disk.exists(path):
                    self._disk.settle(path.parent)
                else:
                    new.add(name)
                    yield path, content

    def _read(self, name: str) -> bytes:
        data = self._disk.read(self.path(name))
        if sha256(data).hexdigest() != name:
            raise CorruptHome(f"{self.path(name)} does not hold what its name says. {RESTORE}")
        return data

    def _load(self, name: str) -> Tensor:
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            tensors = load(self._read(name))
        except SafetensorError as error:
            raise CorruptHome(f"{self.path(name)} is not a safetensors file: {error}. {RESTORE}") from error
        if set(tensors) != {NAME}:
            raise CorruptHome(f"{self.path(name)} holds {sorted(tensors)} instead of one tensor. {RESTORE}")
        return tensors[NAME]


def describe(key: str, tensor: Tensor | np.ndarray[Any, Any]) -> tuple[Ref, list[Content]]:
    """A tensor's reference and the content of its blobs. Raises StateError naming `key`."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise StateError(f"{key} is of dtype {dtype}, which cannot be saved. Use one of {', '.join(DTYPES)}")
    layout = str(getattr(tensor, "layout", "torch.strided"))
    if layout != "torch.strided":
        raise StateError(f"{key} has layout {layout}, which cannot be saved. Make it dense")
    shape = tuple(int(size) for size in tensor.shape)
    data = _bytes(tensor)
    row = len(data) // shape[0] if shape and shape[0] else 0
    rows = 0 if len(data) <= CHUNK_BYTES else max(1, CHUNK_BYTES // row)
    parts: list[Content] = []
    for cut in _cuts(shape, rows):
        part = data[cut.start * row : cut.stop * row] if rows else data
        size = (cut.stop - cut.start, *shape[1:]) if rows else shape
        parts.append((_header(DTYPES[dtype], size, len(part)), part))
    return Ref(dtype=dtype, shape=shape, rows=rows, blobs=tuple(map(_name, parts))), parts


def _cuts(shape: Iterable[int], rows: int) -> list[slice]:
    first = next(iter(shape), 0)
    if rows <= 0:
        return [slice(0, first)]
    return [slice(start, min(start + rows, first)) for start in range(0, first, rows)]


def _name(content: Content) -> str:
    digest = sha256()
    for part in content:
        digest.update(part)
    return digest.hexdigest()


def _header(dtype: str, shape: tuple[int, ...], size: int) -> bytes:
    """safetensors' own header: its length, then JSON padded to eight bytes."""
    entry = {NAME: {"dtype": dtype, "shape": list(shape), "data_offsets": [0, size]}}
    text = json.dumps(entry, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: Tensor | np.ndarray[Any, Any]) -> memoryview:
    """A tensor's elements in row-major order, without a copy where it lies so already."""
    import numpy as np

    if isinstance(tensor, np.ndarray):
        flat = np.ascontiguousarray(tensor).reshape(-1)
    else:
        import torch

        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(flat.view(np.uint8).data)
