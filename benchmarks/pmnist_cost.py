"""CPU time of permuted MNIST with DER++ and 500 rows, over a bare loop in the same run.

Both learn the same rows in the same order, in batches of 128 with two independent draws of 128 from
memory, with SGD and the same MLP 784-100-100-10. `bare` is the loop a careful user writes by hand: rows
taken as bytes, a vectorised reservoir, one joined forward, torch.optim.SGD, no check of anything; `paper`
is the same loop with the paper's three forwards. They take turns, a context at a time.

    python -m benchmarks.pmnist_cost [--tasks N] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import data, settle
from benchmarks.timing import table
from tenuto import Batch
from tenuto.studies.papers.protocols import PROTOCOLS, Job, Setting
from tenuto.studies.papers.run import made, network
from tenuto.studies.papers.streams import CLASSES, PIXELS, Contexts, Digits

PROTOCOL = PROTOCOLS["p-mnist"]
RATE, MEMORY, ALPHA, BETA = 0.2, 500, 1.0, 0.5
TARGET = 1.1
Learn = Callable[[Tensor, Tensor], object]


class Reservoir:
    """Rows, labels and logits, each row kept with the probability capacity / rows seen."""

    def __init__(self) -> None:
        self.inputs = torch.empty(MEMORY, PIXELS, dtype=torch.uint8)
        self.targets = torch.empty(MEMORY, dtype=torch.int64)
        self.logits = torch.empty(MEMORY, CLASSES)
        self.seen = 0

    def add(self, inputs: Tensor, targets: Tensor, logits: Tensor) -> None:
        """Offer rows; where two of them draw one slot, either stays."""
        number = torch.arange(self.seen, self.seen + len(inputs))
        slots = (torch.rand(len(inputs), dtype=torch.float64) * (number + 1)).long()
        slots = torch.where(number < MEMORY, number, slots)
        kept = (slots < MEMORY).nonzero().flatten()
        self.seen += len(inputs)
        if len(kept):
            into = slots[kept]
            self.inputs[into], self.targets[into] = inputs[kept], targets[kept]
            self.logits[into] = logits[kept]

    def draw(self, n: int) -> Tensor:
        """Slots of distinct rows."""
        return torch.randperm(min(self.seen, MEMORY))[:n]


def bare(joined: bool) -> Learn:
    """The loop by hand; `joined`: one forward over everything, else one per draw."""
    torch.manual_seed(0)
    net, memory = network(PROTOCOL, 0), Reservoir()
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    step = _joined if joined else _apart

    def learn(inputs: Tensor, targets: Tensor) -> None:
        n = len(inputs)
        if memory.seen:
            loss, logits = step(net, memory, inputs, targets)
        else:
            logits = net(_pixels(inputs))
            loss = F.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        memory.add(inputs, targets, logits[:n].detach())

    return learn


def _joined(net: nn.Module, memory: Reservoir, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    n, one, two = len(inputs), memory.draw(len(inputs)), memory.draw(len(inputs))
    rows = torch.cat([inputs, memory.inputs[one], memory.inputs[two]])
    logits = net(_pixels(rows))
    middle = n + len(one)
    loss = F.cross_entropy(logits[:n], targets)
    loss = loss + BETA * F.cross_entropy(logits[n:middle], memory.targets[one])
    return loss + ALPHA * F.mse_loss(logits[middle:], memory.logits[two]), logits


def _apart(net: nn.Module, memory: Reservoir, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    one, two = memory.draw(len(inputs)), memory.draw(len(inputs))
    logits = net(_pixels(inputs))
    loss = F.cross_entropy(logits, targets)
    loss = loss + ALPHA * F.mse_loss(net(_pixels(memory.inputs[two])), memory.logits[two])
    return loss + BETA * F.cross_entropy(net(_pixels(memory.inputs[one])), memory.targets[one]), logits


def _pixels(inputs: Tensor) -> Tensor:
    return inputs.float().div_(255)


def tenuto() -> Learn:
    """The library's learner, as `tenuto bench papers` runs it."""
    options = {"alpha": ALPHA, "beta": BETA}
    setting = Setting(method="derpp", options=options, config={"learning_rate": RATE})
    learner = made(Job(protocol="p-mnist", setting=setting, seed=0, buffer=MEMORY))
    return lambda inputs, targets: learner.learn_batch(Batch(inputs, targets))


def measure(tasks: int) -> dict[str, list[float]]:
    """CPU seconds of each context under each loop; the order turns around with every context."""
    contexts = Contexts(Digits.load(data("mnist")), PROTOCOL.kind, tasks, 0)
    loops = {"bare": bare(True), "paper": bare(False), "tenuto": tenuto()}
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(tasks):
        for name in list(loops) if number % 2 == 0 else reversed(list(loops)):
            began = time.process_time()
            for inputs, targets in contexts.batches(number, PROTOCOL.batch):
                loops[name](inputs, targets)
            seconds[name].append(time.process_time() - began)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", type=int, default=4, help="contexts of 60,000 rows")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    settle()
    found = measure(arguments.tasks)
    ratios = [a / b for a, b in zip(found["tenuto"], found["bare"], strict=True)]
    told = {
        "tasks": arguments.tasks,
        **{f"{name}_seconds": round(sum(times), 2) for name, times in found.items()},
        "ratio": round(sum(found["tenuto"]) / sum(found["bare"]), 3),
        "median_ratio": round(statistics.median(ratios), 3),
        "target": TARGET,
    }
    if arguments.json:
        print(json.dumps(told, indent=2))
        return
    rows = [
        [name, f"{sum(times):.2f}", f"{sum(times) / sum(found['bare']):.3f}"] for name, times in found.items()
    ]
    print(table(["loop", "CPU s", "over bare"], rows))
    print(f"{arguments.tasks} contexts of 60,000 rows, DER++ with {MEMORY} rows; the target is {TARGET}.")


if __name__ == "__main__":
    main()
