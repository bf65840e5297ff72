"""CPU time of a step over the hand-written floor: MLP 784-400-400-10, batches of 10 + 10, SGD.

The floor is the mathematics of the step and nothing else: the same forwards, one backward and
torch.optim.SGD on batches made beforehand, with no memory at all; DER++'s three forwards are the
paper's (Buzzega et al. 2020). `bare` is the loop a careful user writes by hand: the floor and a
vectorised reservoir. `tenuto` is `Learner.learn_batch` with the finite guard on and memory long full.

    python -m benchmarks.step_cost [--rounds N] [--steps N] [--json]
"""

from __future__ import annotations

import argparse
import json
from itertools import cycle

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import settle
from benchmarks.timing import Step, interleave, table
from tenuto import Batch, Learner, OnlineLearnerConfig

BATCH, MEMORY, RATE = 10, 500, 0.05
ALPHA, BETA = 1.0, 0.5
TARGETS = {"naive": 1.10, "er": 1.10, "derpp": 0.90}
PEERS = {"naive": 1.06, "er": 1.21, "derpp": 1.10}
NAMES = {"naive": "naive", "er": "ER", "derpp": "DER++"}

Rows = tuple[Tensor, Tensor]


def model() -> nn.Module:
    """The reference network."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 10))


def make_stream(batches: int = 100, rows: int = BATCH) -> list[Rows]:
    """Batches of noisy prototypes, one in ten mislabelled: learnable, and never learned out."""
    draws = torch.Generator().manual_seed(1)
    n = batches * rows
    prototypes = torch.rand(10, 784, generator=draws)
    classes = torch.randint(0, 10, (n,), generator=draws)
    inputs = prototypes[classes] + 0.3 * torch.randn(n, 784, generator=draws)
    wrong = torch.rand(n, generator=draws) < 0.1
    targets = torch.where(wrong, torch.randint(0, 10, (n,), generator=draws), classes)
    return list(zip(inputs.split(rows), targets.split(rows), strict=True))


def floor(method: str, stream: list[Rows]) -> Step:
    """The mathematics of the method on batches made beforehand."""
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    one, two, three, *_ = stream
    joined = torch.cat([one[0], two[0]]), torch.cat([one[1], two[1]])
    stored = torch.randn(BATCH, 10, generator=torch.Generator().manual_seed(2))

    def naive() -> None:
        _descend(net, optimizer, _cross_entropy(net, one))

    def er() -> None:
        _descend(net, optimizer, _cross_entropy(net, joined))

    def derpp() -> None:
        loss = _cross_entropy(net, one) + ALPHA * F.mse_loss(net(two[0]), stored)
        _descend(net, optimizer, loss + BETA * _cross_entropy(net, three))

    return {"naive": naive, "er": er, "derpp": derpp}[method]


def bare(method: str, stream: list[Rows]) -> Step:
    """The floor with a reservoir beside it."""
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    memory, fresh = Reservoir(), cycle(stream)

    def naive() -> None:
        _descend(net, optimizer, _cross_entropy(net, next(fresh)))

    def er() -> None:
        inputs, targets = next(fresh)
        if memory.seen:
            old, labels, _ = memory.sample()
            joined = torch.cat([inputs, old]), torch.cat([targets, labels])
        else:
            joined = inputs, targets
        _descend(net, optimizer, _cross_entropy(net, joined))
        memory.add(inputs, targets, None)

    def derpp() -> None:
        inputs, targets = next(fresh)
        outputs = net(inputs)
        loss = F.cross_entropy(outputs, targets)
        if memory.seen:
            old, _, logits = memory.sample()
            loss = loss + ALPHA * F.mse_loss(net(old), logits)
            old, labels, _ = memory.sample()
            loss = loss + BETA * F.cross_entropy(net(old), labels)
        _descend(net, optimizer, loss)
        memory.add(inputs, targets, outputs.detach())

    return {"naive": naive, "er": er, "derpp": derpp}[method]


def tenuto(method: str, stream: list[Rows]) -> Step:
    """The library's step."""
    config = OnlineLearnerConfig(learning_rate=RATE, memory_size=MEMORY, head="fixed")
    learner = Learner(model(), config, method=method)
    batches = cycle([Batch(inputs, targets) for inputs, targets in stream])

    def step() -> None:
        trace = learner.learn_batch(next(batches))
        if not trace.verdict.keeps:
            raise RuntimeError(f"{method} diverged, so its time means nothing: {trace.verdict.reason}")

    return step


class Reservoir:
    """Algorithm R over whole batches, as one writes it by hand."""

    def __init__(self) -> None:
        self.inputs = torch.zeros(MEMORY, 784)
        self.targets = torch.zeros(MEMORY, dtype=torch.int64)
        self.logits = torch.zeros(MEMORY, 10)
        self.seen = 0

    def sample(self) -> tuple[Tensor, Tensor, Tensor]:
        """A batch of rows, with replacement."""
        rows = torch.randint(0, min(self.seen, MEMORY), (BATCH,))
        return self.inputs[rows], self.targets[rows], self.logits[rows]

    def add(self, inputs: Tensor, targets: Tensor, logits: Tensor | None) -> None:
        """Offer a batch."""
        numbers = torch.arange(self.seen, self.seen + len(inputs))
        slots = (torch.rand(len(inputs)) * (numbers + 1)).long()
        slots = torch.where(numbers < MEMORY, numbers, slots)
        self.seen += len(inputs)
        kept = (slots < MEMORY).nonzero().flatten()
        if len(kept):
            self.inputs[slots[kept]] = inputs[kept]
            self.targets[slots[kept]] = targets[kept]
            if logits is not None:
                self.logits[slots[kept]] = logits[kept]


def _cross_entropy(net: nn.Module, rows: Rows) -> Tensor:
    return F.cross_entropy(net(rows[0]), rows[1])


def _descend(net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def measure(*, rounds: int, steps: int, warm: int = 2000) -> list[dict[str, object]]:
    """One row per method: floor in microseconds, ratios to it, and what they are held against."""
    makers = {"floor": floor, "bare": bare, "tenuto": tenuto}
    stream = make_stream()
    cases = {f"{method}/{name}": make(method, stream) for method in TARGETS for name, make in makers.items()}
    for step in cases.values():
        for _ in range(warm):
            step()
    times = interleave(cases, rounds=rounds, steps=steps)
    found = []
    for method, target in TARGETS.items():
        floor_times = times[f"{method}/floor"]
        ratio, low, high = times[f"{method}/tenuto"].over(floor_times)
        found.append(
            {
                "method": NAMES[method],
                "floor_us": round(floor_times.median, 1),
                "bare": round(times[f"{method}/bare"].over(floor_times)[0], 3),
                "tenuto": round(ratio, 3),
                "quartiles": [round(low, 3), round(high, 3)],
                "target": target,
                "best_peer": PEERS[method],
            }
        )
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--steps", type=int, default=200, help="steps per round and case")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    settle()
    found = measure(rounds=arguments.rounds, steps=arguments.steps)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(
        table(
            ["method", "floor, us", "bare", "tenuto", "quartiles", "target", "best peer*"],
            [
                [str(c) if not isinstance(c, list) else f"{c[0]:.3f}-{c[1]:.3f}" for c in row.values()]
                for row in found
            ],
        )
    )
    print("Ratios to the floor, CPU time: medians over interleaved rounds, with tenuto's quartiles.")
    print("* quoted from earlier measurements of CapyMOA (naive, ER) and Avalanche (DER++), not run here.")


if __name__ == "__main__":
    main()
