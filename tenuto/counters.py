"""What a learner has done so far, and the running mean of its loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from tenuto.reports import OnlineLearnerStats
from tenuto.types import State

_NAMES = ("steps", "examples", "replayed", "refused", "consolidations")


class Counters:
    """Counts of rows, updates and consolidations.

    The loss is an exponential mean over about 100 steps. Losses are noted as tensors and read when the
    mean is asked for, so that noting one does not wait for the device.

    >>> counters = Counters()
    >>> counters.learned(2, None, torch.tensor(0.5))
    >>> counters.stats(remembered=0).running_loss
    0.5
    """

    def __init__(self) -> None:
        self.steps = self.examples = self.replayed = self.refused = self.consolidations = 0
        self._domains: Counter[str] = Counter()
        self._mean: float | None = None
        self._unread: list[Tensor] = []

    def learned(self, rows: int, domains: Sequence[str | None] | None, loss: Tensor) -> None:
        """Count rows as learned, in these domains, at this loss."""
        self.examples += rows
        if domains is not None:
            self._domains.update(domain for domain in domains if domain is not None)
        self._unread.append(loss)
        if len(self._unread) >= 256:
            self._read()

    def stats(self, remembered: int) -> OnlineLearnerStats:
        """The counts, beside how many rows memory holds."""
        self._read()
        counts = {name: getattr(self, name) for name in _NAMES}
        domains = dict(self._domains)
        return OnlineLearnerStats(**counts, running_loss=self._mean, remembered=remembered, domains=domains)

    def state(self) -> State:
        """Counts, domains and the mean loss."""
        self._read()
        counts = {name: getattr(self, name) for name in _NAMES}
        return {**counts, "domains": dict(self._domains), "running_loss": self._mean}

    def load_state(self, state: State) -> None:
        """Take saved counts."""
        for name in _NAMES:
            setattr(self, name, int(state[name]))
        self._domains = Counter(state["domains"])
        self._mean = state["running_loss"]
        self._unread = []

    def _read(self) -> None:
        for loss in torch.stack(self._unread).tolist() if self._unread else ():
            self._mean = loss if self._mean is None else self._mean + 0.01 * (loss - self._mean)
        self._unread.clear()
