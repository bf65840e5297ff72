"""MNIST-360's table: what the paper reports, and what each method is given here.

Settings are the authors' (repository aimagelab/mammoth, utils/best_args.py), rates, sizes of batches and of
draws; where they published none (GSS, joint training) they were chosen by `tenuto bench streams --tune`, on
rows held out of the training rows and with seeds that are not reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from tenuto.studies.papers.protocols import Setting
from tenuto.studies.streams.mnist360 import BATCH

BUFFERS = (200, 500, 1000)
PAPER: Mapping[str, tuple[float | None, ...]] = {
    "joint": (82.98,),
    "SGD": (None,),
    "ER": (49.27, 65.04, 75.18),
    "A-GEM-R": (28.34, 28.13, 29.21),
    "GSS": (43.92, 54.45, 63.84),
    "DER": (55.22, 69.11, 75.97),
    "DER++": (54.16, 69.62, 76.03),
}
"""Accuracy in the end, in percent (Buzzega et al. 2020): one figure without memory, or one per buffer."""
TUNING = (100, 101)
"""Seeds that settings are chosen on, and no table reports."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Solver:
    """A line of the table.

    Args:
        method: as the paper spells it.
        buffer: rows of memory; None: it keeps none.
        paper: the paper's figure in percent; None: it is not told.
        setting: what ours is given.
    """

    method: str
    buffer: int | None
    paper: float | None
    setting: Setting

    @property
    def name(self) -> str:
        """Method and buffer, as one word or two."""
        return self.method if self.buffer is None else f"{self.method} {self.buffer}"

    @property
    def batch(self) -> int:
        """Fresh rows of a step."""
        return int(self.setting.config["batch_size"])


def solvers() -> Iterator[Solver]:
    """Every line of the table, in the paper's order.

    >>> [line.name for line in solvers()][:4]
    ['joint', 'SGD', 'ER 200', 'ER 500']
    """
    for method, figures in PAPER.items():
        sizes: tuple[int | None, ...] = BUFFERS if len(figures) > 1 else (None,)
        for size, figure in zip(sizes, figures, strict=True):
            yield Solver(method=method, buffer=size, paper=figure, setting=SETTINGS[method, size])


def tried() -> Iterator[Solver]:
    """The lines that `--tune` compares: those without a published setting, with each rate and batch."""
    for line in solvers():
        if line.method not in TUNED:
            continue
        for rate, batch in product(*TUNED[line.method]):
            mixed = line.setting.mixed
            setting = _at(line.setting.method, rate, batch, BATCH if line.buffer else 0, mixed=mixed)
            yield Solver(method=line.method, buffer=line.buffer, paper=line.paper, setting=setting)


def _at(method: str, rate: float, batch: int, drawn: int, *, mixed: bool = False, **options: Any) -> Setting:
    """A setting whose draws are `drawn` rows each beside a batch of fresh ones."""
    drawing = {"replay_ratio": drawn / (batch + drawn)} if drawn else {}
    config = {"learning_rate": rate, "batch_size": batch, **drawing}
    return Setting(method=method, options=options, config=config, mixed=mixed)


SETTINGS: Mapping[tuple[str, int | None], Setting] = {
    ("joint", None): _at("naive", 0.2, 16, 0, mixed=True),
    ("SGD", None): _at("naive", 0.1, 4, 0),
    ("ER", 200): _at("er", 0.2, 1, 16),
    ("ER", 500): _at("er", 0.2, 1, 16),
    ("ER", 1000): _at("er", 0.2, 4, 16),
    ("A-GEM-R", 200): _at("agem", 0.1, 16, 0, rows=128),
    ("A-GEM-R", 500): _at("agem", 0.1, 16, 0, rows=128),
    ("A-GEM-R", 1000): _at("agem", 0.1, 4, 0, rows=128),
    ("GSS", 200): _at("gss", 0.2, 16, 16),
    ("GSS", 500): _at("gss", 0.2, 16, 16),
    ("GSS", 1000): _at("gss", 0.2, 16, 16),
    ("DER", 200): _at("der", 0.1, 16, 64, alpha=0.5),
    ("DER", 500): _at("der", 0.2, 16, 16, alpha=0.5),
    ("DER", 1000): _at("der", 0.1, 8, 16, alpha=0.5),
    ("DER++", 200): _at("derpp", 0.2, 16, 16, alpha=0.5, beta=1.0),
    ("DER++", 500): _at("derpp", 0.2, 16, 16, alpha=0.5, beta=1.0),
    ("DER++", 1000): _at("derpp", 0.2, 16, 128, alpha=0.2, beta=1.0),
}
TUNED: Mapping[str, tuple[tuple[float, ...], tuple[int, ...]]] = {
    "joint": ((0.03, 0.1, 0.2), (BATCH,)),
    "GSS": ((0.03, 0.1, 0.2), (BATCH,)),
}
"""Rates and batches that are tried of each method without a published setting."""
