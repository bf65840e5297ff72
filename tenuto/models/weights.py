"""Weights to begin from: named tensors, checked against a model before any of them is put in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tenuto.errors import ConfigError
from tenuto.models.body import Body
from tenuto.trees import Tree


def read(weights: Mapping[str, Tensor] | str | Path) -> Tree:
    """Named tensors, out of a `.safetensors` file where a path is given; copies, without a graph.

    >>> import torch
    >>> read({"weight": torch.ones(1)})
    {'weight': tensor([1.])}
    """
    if isinstance(weights, Mapping):
        return {name: tensor.detach().clone() for name, tensor in weights.items()}
    try:
        return load_file(weights)
    except SafetensorError as error:
        raise ConfigError(f"{weights} is not a safetensors file: {error}") from error


def fitted(body: Body, weights: Tree, *, regrow: bool) -> Tree:
    """The tensors in the model's dtypes, where they are the model's by name and shape; nothing changes.

    The head may be left out, and stays as it is. One of another width is taken where it may `regrow`.

    Raises:
        ConfigError: a name is missing or unknown, a shape differs, or a number is not finite.
    """
    mine, head = body.state(), _head(body)
    if unknown := sorted(weights.keys() - mine.keys()):
        raise ConfigError(f"the model has no {', '.join(unknown[:5])}; its tensors are: {', '.join(mine)}")
    spared = head if not head & weights.keys() else set()
    if missing := [name for name in mine if name not in weights and name not in spared]:
        raise ConfigError(f"the weights lack {', '.join(missing[:5])}")
    widths = {len(weights[name]) for name in head & weights.keys() if weights[name].dim()}
    for name, tensor in weights.items():
        free = name in head and regrow and tensor.dim() and len(widths) == 1
        if tensor.shape[bool(free) :] != mine[name].shape[bool(free) :]:
            hint = "; leave the head's tensors out to begin with a new one" if name in head else ""
            shapes = f"{tuple(tensor.shape)}, the model's {tuple(mine[name].shape)}"
            raise ConfigError(f"the weights' {name} is of shape {shapes}{hint}")
        if not bool(tensor.isfinite().all()):
            raise ConfigError(f"the weights' {name} holds NaN or infinity")
    return {name: weights[name].to(mine[name].dtype) for name in mine if name in weights}


def put(body: Body, weights: Tree) -> None:
    """Put fitting tensors into the model; its head takes their width."""
    body.load_state({**body.state(), **weights})


def _head(body: Body) -> set[str]:
    """The names of the head's tensors."""
    if body.head is None or not body.head.own:
        return set()
    return {f"{body.head.name}.{name}".lstrip(".") for name in body.head.layer.state_dict()}
