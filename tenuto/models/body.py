"""A module as the learner holds it: its trainable parameters by name, its buffers, its head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tenuto.errors import ConfigError, ExampleError, OutOfMemory, StateError
from tenuto.models.head import Head
from tenuto.models.inputs import prepare, reads_integers, settle
from tenuto.models.mlp import MLP, Standardize
from tenuto.modes import evaluating
from tenuto.protocols.adapters import Adapter
from tenuto.randomness import torch_draws
from tenuto.trees import Tree
from tenuto.types import Label, State

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_DETERMINISTIC = {
    *(MLP, Standardize, nn.Sequential, nn.Identity, nn.Flatten, nn.Linear, nn.Embedding),
    *(nn.Conv1d, nn.Conv2d, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm),
    *(nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid),
}
"""Layers known to draw nothing at random."""


class Body:
    """A module in training.

    Args:
        module: the model; used as it is, in place.
        head: name of the layer that grows; None: the last Linear. A model without one cannot grow.

    >>> body = Body(nn.Sequential(nn.Linear(2, 3)))
    >>> list(body.params), body.width
    (['0.weight', '0.bias'], 3)
    """

    def __init__(self, module: nn.Module, head: str | None = None) -> None:
        self.module = module
        self.adapter: Adapter | None = None
        for name, parameter in module.named_parameters():
            if isinstance(parameter, nn.UninitializedParameter):
                raise ConfigError(f"{name!r} has no shape yet: run the model on a batch of rows first")
        layers = any(isinstance(m, nn.Linear) for m in module.modules())
        self.head = Head(module, head) if layers or head is not None else None
        self.params: Tree = {}
        self.follow()
        if not self.params:
            raise ConfigError("the model has no trainable parameter; set requires_grad on those to learn")
        first = next(iter(self.params.values()))
        self.dtype, self.device = first.dtype, first.device
        self._integers = reads_integers(module)
        self._rank = 3 if getattr(module, "sequences", False) else 2
        self._unsaved: frozenset[str] = getattr(module, "frozen", frozenset())
        self.stochastic = any(type(m) not in _DETERMINISTIC for m in module.modules())
        self._normalises = any(isinstance(m, _BATCH_NORMS) for m in module.modules())
        self._buffers = [(m, name) for m in module.modules() for name, _ in m.named_buffers(recurse=False)]
        self._read: tuple[int, ...] | None = None
        self._outputs: int | None = None
        if not module.training:
            module.train()

    @property
    def width(self) -> int | None:
        """How many outputs the head has; None for a model without a head."""
        return self.head.width if self.head is not None else None

    @property
    def output(self) -> str | None:
        """The name of the head; None for a model without one."""
        return self.head.name if self.head is not None else None

    @property
    def columns(self) -> int | None:
        """How many outputs the model answers with; None where it has no head and was not asked yet."""
        return self.head.width if self.head is not None else self._outputs

    @property
    def grows(self) -> bool:
        """Can the head gain outputs? Only a Linear layer whose weight is neither shared nor computed can."""
        return self.head is not None and self.head.own

    def read(self, inputs: Tensor) -> Tensor:
        """Rows (n, *shape) in the source's dtype as the module reads them."""
        return prepare(inputs, self.dtype, self.device, integers=self._integers)

    def settle(self, inputs: Tensor, kept: torch.dtype | None = None) -> Tensor:
        """Rows (n, *shape) in the dtype they are kept in; `kept` is that of earlier rows."""
        return settle(inputs, self.dtype, kept, integers=self._integers)

    def check(self, inputs: Tensor) -> None:
        """Refuse rows (n, *shape) that the module cannot read or train on."""
        if self._normalises and len(inputs) == 1:
            raise ExampleError(
                "the model normalises over the batch (BatchNorm), which a single row does not allow: "
                "learn batches of two or more rows, or normalise each row (LayerNorm, GroupNorm)"
            )
        if inputs.shape[1:] != self._read:
            self._outputs = self._answers(inputs[:1])
            self._read = inputs.shape[1:]

    def _answers(self, row: Tensor) -> int:
        """How many outputs the model answers one row (1, *shape) with."""
        try:
            shape = tuple(self.infer(row).shape)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"there is no room for the model to answer a single row: {error}") from error
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise ExampleError(
                f"the model cannot read rows of shape {tuple(row.shape[1:])} ({row.dtype}): {error}"
            ) from error
        if len(shape) != self._rank or shape[0] != 1:
            raise ConfigError(f"the model answers one row with a tensor {shape}; it must be (1, outputs)")
        if self.head is not None and shape[-1] != self.head.width:
            raise ConfigError(
                f"the model answers with {shape[-1]} outputs, but {self.head.name!r}, its last Linear layer, "
                f"has {self.head.width}: name the output layer with head_layer="
            )
        return shape[-1]

    def infer(self, inputs: Tensor, weights: Tree | None = None) -> Tensor:
        """Outputs (n, c) in evaluation mode; the module, its buffers and all randomness are untouched.

        Args:
            weights: tensors to answer with in place of the module's own of these names.
        """
        with evaluating(self.module), torch.no_grad(), torch_draws(0, "infer", 0):
            rows = (self.read(inputs),)
            outputs: Tensor = functional_call(self.module, weights, rows) if weights else self.module(*rows)
        return outputs

    def follow(self) -> None:
        """Hold the parameters that are trained now, in the same dict."""
        trained = {name: one for name, one in self.module.named_parameters() if one.requires_grad}
        self.params.clear()
        self.params.update(trained)

    def attend(self, inputs: Tensor) -> None:
        """Train what answers these rows (n, *shape), as read, where an adapter has experts."""
        if self.adapter is not None and self.adapter.attend(inputs):
            self.follow()

    def grow(self, labels: list[Label], seed: int) -> None:
        """Append an output per label."""
        if self.head is None or not self.head.own:
            raise ConfigError(
                "the output layer cannot grow: only a Linear layer with a weight of its own can"
            )
        self.head.grow(labels, seed)
        self._follow(self.head)

    def resize(self, width: int) -> None:
        """Cut or extend the head to `width` outputs."""
        if self.head is not None and self.head.width != width:
            self.head.resize(width)
            self._follow(self.head)

    def buffers(self) -> list[Tensor]:
        """Copies of the buffers, to be put back by `restore`."""
        return [getattr(module, name).clone() for module, name in self._buffers]

    def restore(self, buffers: list[Tensor]) -> None:
        """Put saved buffers back."""
        for (module, name), saved in zip(self._buffers, buffers, strict=True):
            getattr(module, name).copy_(saved)

    def state(self) -> State:
        """Every parameter and buffer by name, but for what the module says is never to be saved."""
        return {name: one for name, one in self.module.state_dict().items() if name not in self._unsaved}

    def load_state(self, state: State) -> None:
        """Take saved parameters and buffers; the head follows their width."""
        weight = state.get(f"{self.head.name}.weight".lstrip(".")) if self.head is not None else None
        if isinstance(weight, Tensor):
            self.resize(len(weight))
        mine = self.state()
        if mine.keys() != state.keys():
            odd = sorted(mine.keys() ^ state.keys())
            raise StateError(f"the saved state is of another model: {', '.join(odd[:5])} on one side only")
        for name, saved in state.items():
            if saved.shape != mine[name].shape:
                shapes = f"{tuple(saved.shape)}, the model's {tuple(mine[name].shape)}"
                raise StateError(f"the saved {name} is of shape {shapes}")
        self.module.load_state_dict(state, strict=not self._unsaved)

    def _follow(self, head: Head) -> None:
        for name, parameter in head.layer.named_parameters():
            full = f"{head.name}.{name}".lstrip(".")
            if full in self.params:
                self.params[full] = parameter
