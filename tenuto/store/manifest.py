"""A learner's state as JSON: tensors replaced by references to blobs, every other leaf bit exact.

    thaw(freeze(state)) == state, to the last bit

Leaves are None, bool, int, float, str and tensors, in dicts with str keys and lists; nothing else, and never
a pickle. JSON has no word for a tensor, for infinities and NaN, nor for integers beyond 64 bits: those
are one-entry objects whose key starts with `$`; a key of the state that starts with `$` gets one more.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tenuto.errors import CorruptHome, StateError
from tenuto.store.blobs import Blobs, Ref
from tenuto.store.disk import RESTORE

if TYPE_CHECKING:
    from torch import Tensor

TENSOR, FLOAT, INT = "$tensor", "$float", "$int"
Manifest = dict[str, Any]


class Shelf(Protocol):
    """Whatever turns tensors into references."""

    def put(self, tensors: Mapping[str, Tensor]) -> dict[str, Ref]:
        """Keep tensors; a reference for each name."""


def freeze(state: Mapping[str, Any], shelf: Shelf) -> Manifest:
    """The state as plain JSON data, its tensors on the shelf. Raises StateError naming the odd leaf.

    >>> import tempfile, pathlib
    >>> from tenuto.store.disk import Disk
    >>> blobs = Blobs(pathlib.Path(tempfile.mkdtemp()), Disk())
    >>> freeze({"seen": 3, "best": float("inf"), "$odd": [None, -0.0]}, blobs)
    {'seen': 3, 'best': {'$float': '7ff0000000000000'}, '$$odd': [None, -0.0]}
    """
    tensors: dict[str, Tensor] = {}
    holes: dict[str, dict[str, Any]] = {}
    frozen = _freeze(state, "state", tensors, holes)
    for key, ref in shelf.put(tensors).items():
        holes[key][TENSOR] = ref.plain()
    if not isinstance(frozen, dict):
        raise StateError(f"a state is a dict, not {type(state).__name__}")
    return frozen


def thaw(manifest: Mapping[str, Any], blobs: Blobs) -> dict[str, Any]:
    """The state a manifest describes. Raises CorruptHome."""
    state = _thaw(manifest, blobs)
    if not isinstance(state, dict):
        raise CorruptHome(f"a manifest that is no state: {str(manifest)[:80]}. {RESTORE}")
    return state


def reachable(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The names of the blobs a manifest needs. Raises CorruptHome."""
    waiting: list[Any] = [manifest]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            if TENSOR in node:
                yield from Ref.parse(node[TENSOR]).blobs
            else:
                waiting += node.values()


def _freeze(node: Any, path: str, tensors: dict[str, Tensor], holes: dict[str, dict[str, Any]]) -> Any:
    kind = type(node)
    if node is None or kind is bool or kind is str:
        return node
    if kind is int:
        return node if -(2**63) <= node < 2**63 else {INT: hex(node)}
    if kind is float:
        return node if math.isfinite(node) else {FLOAT: struct.pack(">d", node).hex()}
    if kind is list:
        return [_freeze(item, f"{path}[{n}]", tensors, holes) for n, item in enumerate(node)]
    if kind is dict:
        return {_key(key, path): _freeze(node[key], f"{path}[{key!r}]", tensors, holes) for key in node}
    if _is_tensor(node):
        tensors[path], holes[path] = node, {}
        return holes[path]
    raise StateError(
        f"{path} is a {kind.__module__}.{kind.__qualname__}, which cannot be saved. "
        "A state holds tensors, None, bool, int, float and str in dicts and lists"
    )


def _key(key: Any, path: str) -> str:
    if type(key) is not str:
        raise StateError(f"{path} has the key {key!r} of type {type(key).__name__}. Keys of a state are str")
    return "$" + key if key.startswith("$") else key


def _is_tensor(node: Any) -> bool:
    import torch

    return isinstance(node, torch.Tensor)


def _thaw(node: Any, blobs: Blobs) -> Any:
    if isinstance(node, list):
        return [_thaw(item, blobs) for item in node]
    if not isinstance(node, dict):
        return node
    match node:
        case {"$tensor": ref, **rest} if not rest:
            return blobs.get(Ref.parse(ref))
        case {"$float": str(bits), **rest} if not rest:
            return _float(bits)
        case {"$int": str(digits), **rest} if not rest:
            return _int(digits)
    return {_unescaped(key): _thaw(value, blobs) for key, value in node.items()}


def _unescaped(key: str) -> str:
    if not key.startswith("$"):
        return key
    if not key.startswith("$$"):
        raise CorruptHome(f"a manifest with the unknown mark {key!r}. {RESTORE}")
    return key[1:]


def _float(bits: str) -> float:
    try:
        (value,) = struct.unpack(">d", bytes.fromhex(bits))
    except (ValueError, struct.error) as error:
        raise CorruptHome(f"a manifest with the number {bits!r}: {error}. {RESTORE}") from error
    return float(value)


def _int(digits: str) -> int:
    try:
        return int(digits, 16)
    except ValueError as error:
        raise CorruptHome(f"a manifest with the number {digits!r}: {error}. {RESTORE}") from error
