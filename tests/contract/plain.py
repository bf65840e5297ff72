"""Saved states: what they may hold, and the trip through JSON and safetensors that they must survive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from tenuto.types import State


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a state by its path; anything but dicts, lists and leaves is refused."""
    if type(node) is dict:
        for name, child in node.items():
            assert type(name) is str, f"{path} has a key that is no str: {name!r}"
            yield from leaves(child, f"{path}/{name}")
    elif type(node) is list:
        for i, child in enumerate(node):
            yield from leaves(child, f"{path}/{i}")
    else:
        yield path, node


def tensors(state: State) -> list[Tensor]:
    """Every tensor of a state."""
    return [leaf for _, leaf in leaves(state) if isinstance(leaf, Tensor)]


def size(state: State) -> int:
    """Numbers in a state: entries of its tensors, and its other leaves."""
    return sum(leaf.numel() if isinstance(leaf, Tensor) else 1 for _, leaf in leaves(state))


def trip(state: State) -> State:
    """The state as it comes back from bytes: JSON with sorted keys, tensors in a safetensors file."""
    found: dict[str, Tensor] = {}

    def strip(node: Any, path: str) -> Any:
        if isinstance(node, Tensor):
            found[path] = node.contiguous()
            return {"tensor": path}
        if isinstance(node, dict):
            return {name: strip(child, f"{path}/{name}") for name, child in node.items()}
        if isinstance(node, list):
            return [strip(child, f"{path}/{i}") for i, child in enumerate(node)]
        return node

    text = json.dumps(strip(state, ""), sort_keys=True, allow_nan=False)
    back = load(save(found))

    def fill(node: dict[str, Any]) -> Any:
        return back[node["tensor"]] if node.keys() == {"tensor"} else node

    filled: State = json.loads(text, object_hook=fill)
    return filled
