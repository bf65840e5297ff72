"""What a forward pass keeps for its backward: the storages that autograd saves, each counted once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Kept:
    """Bytes of storages by what names them.

    Args:
        vocabulary: how wide logits are.
        known: tensors that are there anyway, and not counted.

    Attributes:
        wide: those of tensors as wide as the vocabulary.
        narrow: all others.
        within: of each of the latter, in which block of the model it was kept first; -1: in none.
        block: the one that is running.
    """

    vocabulary: int
    known: Iterable[Tensor] = ()
    wide: dict[int, int] = field(default_factory=dict)
    narrow: dict[int, int] = field(default_factory=dict)
    within: dict[int, int] = field(default_factory=dict)
    block: int = -1

    def __post_init__(self) -> None:
        self._own = {storage(one) for one in self.known}
        self._alive: list[Tensor] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, all that is saved for a backward is noted."""
        with torch.autograd.graph.saved_tensors_hooks(self._see, lambda kept: kept):
            yield

    def _see(self, saved: Tensor) -> Tensor:
        self.note(saved)
        return saved.detach()

    def note(self, tensor: Tensor) -> None:
        """Count a tensor's storage, once."""
        name = storage(tensor)
        if name in self._own or name in self.wide or name in self.narrow:
            return
        self._alive.append(tensor.detach())
        wide = tensor.dim() > 1 and tensor.shape[-1] == self.vocabulary
        (self.wide if wide else self.narrow)[name] = tensor.untyped_storage().nbytes()
        if not wide:
            self.within[name] = self.block

    def blocks(self) -> dict[int, int]:
        """Bytes kept by block, logits left out; -1: outside of them."""
        found: dict[int, int] = {}
        for name, size in self.narrow.items():
            found[self.within[name]] = found.get(self.within[name], 0) + size
        return found


def storage(tensor: Tensor) -> int:
    """What names a tensor's storage, as long as it lives."""
    name: int = tensor.untyped_storage()._cdata
    return name
