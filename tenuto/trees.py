"""Arithmetic on trees: dicts of tensors that share names, moved by torch's fused kernels.

The invariant: two trees that meet have the same names in the same order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Tree = dict[str, Tensor]


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors in order."""
    return list(tree.values())


def like(tree: Tree, tensors: list[Tensor] | tuple[Tensor, ...]) -> Tree:
    """Put the tree's names on tensors of the same order."""
    return dict(zip(tree, tensors, strict=True))


def add(tree: Tree, *others: Tree | None, alpha: float = 1.0) -> Tree:
    """tree + alpha * (the sum of the others); `tree` itself where there are none.

    >>> add({"w": torch.ones(2)}, {"w": torch.ones(2)}, None, alpha=2.0)["w"]
    tensor([3., 3.])
    """
    for other in others:
        if other is not None:
            tree = like(tree, torch._foreach_add(leaves(tree), leaves(other), alpha=alpha))
    return tree


def scale(tree: Tree, factor: float) -> Tree:
    """factor * tree.

    >>> scale({"w": torch.ones(2)}, 3.0)["w"]
    tensor([3., 3.])
    """
    return like(tree, torch._foreach_mul(leaves(tree), factor))


def accumulate(tree: Tree, other: Tree, alpha: float = 1.0) -> None:
    """tree += alpha * other, in place.

    >>> w = {"w": torch.ones(2)}; accumulate(w, w, alpha=0.5); w["w"]
    tensor([1.5000, 1.5000])
    """
    torch._foreach_add_(leaves(tree), leaves(other), alpha=alpha)


def zeros(tree: Tree) -> Tree:
    """A tree of zeros of the same shapes."""
    return {name: torch.zeros_like(leaf) for name, leaf in tree.items()}


def copy(tree: Tree) -> Tree:
    """A detached copy."""
    return {name: leaf.detach().clone() for name, leaf in tree.items()}


def dot(a: Tree, b: Tree) -> Tensor:
    """The inner product of two trees, a scalar tensor.

    >>> dot({"w": torch.ones(3)}, {"w": torch.ones(3)})
    tensor(3.)
    """
    products = torch._foreach_mul(leaves(a), leaves(b))
    return torch.stack([product.sum() for product in products]).sum()


def fit(moment: Tensor, parameter: Tensor) -> Tensor:
    """`moment` with zero rows appended (or rows dropped) along dim 0 to the parameter's shape.

    >>> fit(torch.ones(1, 2), torch.zeros(2, 2)).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    if moment.shape == parameter.shape:
        return moment
    grown = moment.new_zeros(parameter.shape)
    rows = min(moment.shape[0], parameter.shape[0])
    grown[:rows] = moment[:rows]
    return grown


def follow(moments: Tree, params: Tree) -> Tree:
    """A moment for every parameter, each of its parameter's shape; new ones are zero."""
    return {
        name: fit(moments[name], p) if name in moments else p.new_zeros(p.shape, requires_grad=False)
        for name, p in params.items()
    }


LARGEST = 1e19
"""What a number may measure so that its square is a finite float32."""


def squarable(values: Tensor) -> bool:
    """Is every entry finite, and its square too? One norm; it reads the device.

    >>> squarable(torch.ones(2)), squarable(torch.tensor([1e30])), squarable(torch.tensor([torch.nan]))
    (True, False, False)
    """
    return bool(torch.linalg.vector_norm(values).item() < LARGEST)


def finite(tree: Tree) -> bool:
    """Is every entry finite, and no sum of them beyond 1e19? The cheapest reading: one sum per leaf.

    A sum is finite only if its terms are; one whose square would overflow belongs to no sane update.

    >>> finite({"w": torch.tensor([1.0, float("inf")])}), finite({"w": torch.ones(2)})
    (False, True)
    """
    return all(abs(leaf.sum().item()) <= LARGEST for leaf in tree.values())


def detach(state: Any) -> Any:
    """A deep copy of nested plain state that shares no tensor with it."""
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, dict):
        return {name: detach(node) for name, node in state.items()}
    if isinstance(state, list):
        return [detach(node) for node in state]
    return state


def digest(state: Any) -> str:
    """SHA-256 of nested plain state: names, dtypes, shapes and every bit; the order of names does not matter.

    >>> digest({"a": 1, "b": torch.zeros(1)}) == digest({"b": torch.zeros(1), "a": 1})
    True
    """
    h = hashlib.sha256()
    _feed(state, h.update)
    return h.hexdigest()


def _feed(node: Any, update: Callable[[Any], None]) -> None:
    if isinstance(node, Tensor):
        flat = node.detach().cpu().contiguous()
        update(f"tensor {flat.dtype} {tuple(flat.shape)}\n".encode())
        if flat.numel():
            update(flat.view(-1).view(torch.uint8).numpy())
    elif isinstance(node, dict):
        update(f"dict {len(node)}\n".encode())
        for name in sorted(node):
            update(json.dumps(name).encode())
            _feed(node[name], update)
    elif isinstance(node, list):
        update(f"list {len(node)}\n".encode())
        for child in node:
            _feed(child, update)
    elif isinstance(node, float):
        update(f"float {node.hex()}\n".encode())
    else:
        update(f"{json.dumps(node)}\n".encode())
