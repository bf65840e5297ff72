"""What an insertion policy may do beside answering rows with slots."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Refreshed(Protocol):
    """A policy that follows the losses of the rows it keeps."""

    def seen(self, slots: Tensor, losses: Tensor) -> None:
        """The newest losses (k,) of replayed slots (k,)."""


@runtime_checkable
class Sparing(Protocol):
    """A policy to which slots are alike, so that it can be told which of them to give up first."""

    def spare(self, slots: list[int]) -> None:
        """Rows that are kept take these slots, the last one first, before any other."""
