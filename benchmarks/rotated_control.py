"""Rotated MNIST beside a bare loop on the very same rotations: are they hard, or is the method at fault?

The paper's protocol: 20 rotations, batches of 128 and as many rows from memory, SGD, one pass; ER and A-GEM.
`bare` is a loop by hand of what the code behind the paper's figures does: ER joins a draw without replacement
from a reservoir; A-GEM keeps 128 rows of each context that ended, thinned by a reservoir, and projects the
gradient. Both see the same angles, rows and first weights, and draw from memory with generators of their own,
so that single seeds differ and only the mean of their differences tells.

    python -m benchmarks.rotated_control [--seeds 20-29] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import data, settle
from benchmarks.timing import table
from tenuto.evaluation.intervals import paired_interval
from tenuto.studies.papers.figures import Line
from tenuto.studies.papers.protocols import PROTOCOLS, Job
from tenuto.studies.papers.run import network, perform
from tenuto.studies.papers.settings import setting
from tenuto.studies.papers.streams import PIXELS, Contexts, Digits

PROTOCOL = PROTOCOLS["r-mnist"]
CASES = (("ER", 200), ("ER", 500), ("A-GEM", 200), ("A-GEM", 500))
RATES = {"ER": 0.2, "A-GEM": 0.1}
Rows = tuple[Tensor, Tensor]


class Memory:
    """Algorithm R, row by row."""

    def __init__(self, capacity: int, seed: int) -> None:
        self._draws = np.random.default_rng(seed)
        self._inputs = torch.zeros(capacity, PIXELS)
        self._targets = torch.zeros(capacity, dtype=torch.int64)
        self._capacity = capacity
        self.seen = 0

    def add(self, inputs: Tensor, targets: Tensor) -> None:
        """Offer rows."""
        for row, target in zip(inputs, targets, strict=True):
            slot = self.seen if self.seen < self._capacity else int(self._draws.integers(0, self.seen + 1))
            self.seen += 1
            if slot < self._capacity:
                self._inputs[slot], self._targets[slot] = row, target

    def draw(self, n: int) -> Rows:
        """At most n distinct rows."""
        held = min(self.seen, self._capacity)
        slots = torch.from_numpy(self._draws.choice(held, min(held, n), replace=False))
        return self._inputs[slots], self._targets[slots]


def bare(method: str, digits: Digits, seed: int, buffer: int) -> float:
    """Average accuracy of the loop by hand."""
    contexts = Contexts(digits, PROTOCOL.kind, PROTOCOL.contexts, seed)
    net, memory = network(PROTOCOL, seed), Memory(buffer, seed)
    params = list(net.parameters())
    gradient = {"ER": _replayed, "A-GEM": _projected}[method]
    for number in range(len(contexts)):
        first: Rows | None = None
        for pixels, targets in contexts.batches(number, PROTOCOL.batch):
            inputs = pixels.float() / 255
            grads = gradient(_gradient(net, params), memory, inputs, targets)
            with torch.no_grad():
                torch._foreach_add_(params, grads, alpha=-RATES[method])
            if method == "ER":
                memory.add(inputs, targets)
            first = first or (inputs, targets)
        if method == "A-GEM" and first is not None:
            memory.add(*first)
    return statistics.fmean(_accuracy(net, contexts, number) for number in range(len(contexts)))


Gradient = Callable[[Tensor, Tensor], list[Tensor]]


def _gradient(net: nn.Module, params: list[nn.Parameter]) -> Gradient:
    def of(inputs: Tensor, targets: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(F.cross_entropy(net(inputs), targets), params))

    return of


def _replayed(gradient: Gradient, memory: Memory, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    if not memory.seen:
        return gradient(inputs, targets)
    old, labels = memory.draw(len(inputs))
    return gradient(torch.cat([inputs, old]), torch.cat([targets, labels]))


def _projected(gradient: Gradient, memory: Memory, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    grads = gradient(inputs, targets)
    if not memory.seen:
        return grads
    reference = gradient(*memory.draw(PROTOCOL.batch))
    along = sum(float((g * r).sum()) for g, r in zip(grads, reference, strict=True))
    if along >= 0:
        return grads
    squared = sum(float(r.square().sum()) for r in reference)
    return [g - along / squared * r for g, r in zip(grads, reference, strict=True)]


def _accuracy(net: nn.Module, contexts: Contexts, number: int) -> float:
    right = rows = 0
    with torch.no_grad():
        for pixels, targets in contexts.tests(number):
            right += int((net(pixels.float() / 255).argmax(1) == targets).sum())
            rows += len(targets)
    return right / rows


def ours(method: str, digits: Digits, seed: int, buffer: int) -> float:
    """Average accuracy of the library, as `tenuto bench papers` runs it."""
    given = setting(Line(protocol="r-mnist", method=method, buffer=buffer, paper=None))
    if given is None:
        raise RuntimeError(f"{method} has no setting on rotated MNIST")
    job = Job(protocol="r-mnist", setting=given, seed=seed, buffer=buffer)
    return float(perform(job, digits, lambda done, total: None).to_plain()["accuracy"])


def measure(seeds: range) -> list[dict[str, object]]:
    """One row per method and buffer: means in per cent, and the mean difference with its 95 % half-width."""
    digits, found = Digits.load(data("mnist")), []
    for method, buffer in CASES:
        pairs = [
            (100 * ours(method, digits, seed, buffer), 100 * bare(method, digits, seed, buffer))
            for seed in seeds
        ]
        gap = paired_interval(*zip(*pairs, strict=True))
        found.append(
            {
                "method": method,
                "buffer": buffer,
                "tenuto": round(statistics.fmean(mine for mine, _ in pairs), 2),
                "bare": round(statistics.fmean(theirs for _, theirs in pairs), 2),
                "difference": round(gap.mean, 2),
                "half_width": None if gap.half_width is None else round(gap.half_width, 2),
            }
        )
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", default="20-29", help="first and last")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    settle()
    found = measure(range(int(first), int(last or first) + 1))
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(table(list(found[0]), [[str(value) for value in row.values()] for row in found]))
    print(
        f"average accuracy in per cent over seeds {arguments.seeds}; the difference with its 95 % half-width"
    )


if __name__ == "__main__":
    main()
