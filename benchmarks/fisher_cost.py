"""CPU time of an empirical Fisher of 2,000 rows over a loop of single-row backwards: MLP 784-400-400-10.

The loop is what one writes by hand: for every row a forward, a backward, and the gradient's square added
up. Both run in one process, in rounds of alternating order. The agreement is the largest relative error
of a layer.

    python -m benchmarks.fisher_cost [--rows N] [--rounds N]
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.common import settle
from benchmarks.step_cost import model
from benchmarks.timing import interleave, table
from tenuto import Batch, OnlineLearnerConfig, methods, optimizers
from tenuto.methods.shared.fisher import fisher
from tenuto.methods.shared.objective import Composed
from tenuto.models import Body
from tenuto.tasks import Classification
from tenuto.trees import Tree

TARGET = 7.0


def loop(net: nn.Module, batch: Batch) -> Tree:
    """The mean over rows of the squared gradient, one backward per row."""
    net.eval()
    found = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for inputs, target in zip(batch.inputs.split(1), batch.targets.split(1), strict=True):
        net.zero_grad()
        F.cross_entropy(net(inputs), target).backward()
        with torch.no_grad():
            for name, p in net.named_parameters():
                if p.grad is not None:
                    found[name].addcmul_(p.grad, p.grad, value=1 / len(batch))
    net.zero_grad()
    net.train()
    return {name: leaf.detach() for name, leaf in found.items()}


def measure(rows: int, rounds: int) -> tuple[dict[str, float], float]:
    """Milliseconds of each, their ratio with its quartiles, and the largest relative error of a layer."""
    draws = torch.Generator().manual_seed(1)
    inputs = torch.rand(rows, 784, generator=draws)
    batch = Batch(inputs, torch.randint(0, 10, (rows,), generator=draws))
    body = Body(model())
    optimizer = optimizers.make(OnlineLearnerConfig())
    objective = Composed(methods.load("naive"), body, Classification(list(range(10))), optimizer, 0)
    wanted, found = loop(body.module, batch), fisher(objective, body.params, batch, "empirical")
    errors = [float((found[name] - leaf).norm() / leaf.norm()) for name, leaf in wanted.items()]
    cases = {
        "loop": lambda: loop(body.module, batch),
        "tenuto": lambda: fisher(objective, body.params, batch, "empirical"),
    }
    times = interleave(cases, rounds=rounds, steps=1, warm=0)
    middle, low, high = times["loop"].over(times["tenuto"])
    figures = {name: case.median / 1000 for name, case in times.items()}
    return {**figures, "ratio": middle, "low": low, "high": high}, max(errors)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    settle()
    found, error = measure(arguments.rows, arguments.rounds)
    quartiles = f"{found['low']:.1f}-{found['high']:.1f}"
    head = ["rows", "loop, ms", "tenuto, ms", "times faster", "quartiles", "target"]
    row = [
        f"{found['loop']:.0f}",
        f"{found['tenuto']:.1f}",
        f"{found['ratio']:.1f}",
        quartiles,
        f"{TARGET:.0f}",
    ]
    print(table(head, [[f"{arguments.rows:,}", *row]]))
    print(f"CPU time, medians over interleaved rounds; largest relative error of a layer {error:.1e}.")


if __name__ == "__main__":
    main()
