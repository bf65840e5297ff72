"""CPU time of every method's step over `naive`, and of six of them over hand-written floors.

MLP 784-400-400-10, batches of 10, SGD, memory of 500 rows, in the fourth of four contexts (three were
consolidated). A floor is the mathematics of its method's step and nothing else, from the weights and the
memory, importances or bases that the learner has then: forwards, backwards, the protection, the move, on
batches made beforehand, without a memory to keep, a guard or a state. It is timed some 5,000 rows into the
context, where samples of rows are long full. A-GEM draws 64 rows of earlier contexts; GEM reads every
remembered row of the three earlier contexts, and both project only where the move would raise a loss.

    python -m benchmarks.method_cost [--rounds N] [--steps N] [--json]
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from itertools import cycle

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common import settle
from benchmarks.step_cost import MEMORY, RATE, Rows, make_stream, model
from benchmarks.timing import Step, interleave, table
from tenuto import Batch, Learner, OnlineLearnerConfig, methods, subspace
from tenuto.methods.gem import multipliers

CONTEXTS, BATCHES, DRAWN = 4, 100, 64
TARGET = 1.10
OPTIONS = {"agem": {"rows": DRAWN}}
WEIGHTS = (0, 2, 4)
"""Where the layers' weights stand among the parameters; each bias follows."""


def contexts() -> list[list[Rows]]:
    """The stream under another permutation of its features in each context."""
    streams = []
    for number in range(CONTEXTS):
        order = torch.randperm(784, generator=torch.Generator().manual_seed(number))
        streams.append([(inputs[:, order], targets) for inputs, targets in make_stream(BATCHES)])
    return streams


def prepared(method: str, streams: list[list[Rows]]) -> Learner:
    """A learner that has closed all contexts but the last, and has begun that one."""
    config = OnlineLearnerConfig(learning_rate=RATE, memory_size=MEMORY, head="fixed")
    learner = Learner(model(), config, method=method, options=OPTIONS.get(method))
    for number, stream in enumerate(streams):
        for inputs, targets in stream:
            learner.learn_batch(Batch(inputs, targets))
        if number < CONTEXTS - 1:
            learner.consolidate()
    return learner


def tenuto(learner: Learner, stream: list[Rows]) -> Step:
    """The library's step."""
    batches = cycle([Batch(inputs, targets) for inputs, targets in stream])

    def step() -> None:
        trace = learner.learn_batch(next(batches))
        if not trace.verdict.keeps:
            raise RuntimeError(
                f"{learner.recipe.name} diverged, so its time means nothing: {trace.verdict.reason}"
            )

    return step


class Floor:
    """The mathematics of a step, by hand, from where a learner stands.

    Args:
        learner: in the last context; what it holds is copied.
        stream: the rows of that context.
    """

    def __init__(self, learner: Learner, stream: list[Rows]) -> None:
        self.net = model()
        self.net.load_state_dict(learner.model.state_dict())
        self.params = list(self.net.parameters())
        self.optimizer = torch.optim.SGD(self.params, lr=RATE)
        self.fresh = cycle(stream)
        names = [name for name, _ in self.net.named_parameters()]
        state = learner.save_state()["parts"]
        held = next((part for name, part in state.items() if name != "context"), {})
        if "precision" in held:
            self.precision = [held["precision"][name] for name in names]
            self.anchor = [held["anchor"][name] for name in names]
            self.work = [torch.zeros_like(p) for p in self.params]
        if "bases" in held:
            self.bases = [held["bases"][names[i]] for i in WEIGHTS]
            self.complements = [subspace.complement(basis) for basis in self.bases]
        if learner.recipe.rules and learner.memory is not None:
            self._recall(learner)

    def _recall(self, learner: Learner) -> None:
        remembered = learner.memory.table.columns if learner.memory is not None else {}
        draws = torch.Generator().manual_seed(3)
        groups, held = learner.oracle.groups(), torch.arange(MEMORY)
        if learner.memory is not None and learner.recipe.grouping == "context":
            held = learner.memory.outside(learner.oracle.group)
        picks = [held[torch.randint(0, len(held), (DRAWN,), generator=draws)] for _ in range(50)]
        self.drawn = cycle([(remembered["inputs"][p], remembered["targets"][p]) for p in picks])
        self.groups = [(b.inputs, b.targets) for g, b in groups.items() if g != learner.oracle.group]

    def gradients(self, rows: Rows) -> list[Tensor]:
        """One forward, one backward."""
        self.optimizer.zero_grad()
        F.cross_entropy(self.net(rows[0]), rows[1]).backward()
        return [p.grad for p in self.params if p.grad is not None]

    def naive(self) -> None:
        """theta <- theta - lr g."""
        self.gradients(next(self.fresh))
        self.optimizer.step()

    def quadratic(self) -> None:
        """EWC and MAS: g <- g + P (theta - theta*)."""
        grads = self.gradients(next(self.fresh))
        with torch.no_grad():
            pull = torch._foreach_sub(self.params, self.anchor)
            torch._foreach_addcmul_(grads, self.precision, pull)
        self.optimizer.step()

    def si(self) -> None:
        """The same, and the work of the step: w <- w - g * move; the way is theta - theta*."""
        grads = self.gradients(next(self.fresh))
        with torch.no_grad():
            total = torch._foreach_sub(self.params, self.anchor)
            torch._foreach_mul_(total, self.precision)
            torch._foreach_add_(total, grads)
            torch._foreach_addcmul_(self.work, grads, total, value=RATE)
            torch._foreach_add_(self.params, total, alpha=-RATE)

    def gpm(self) -> None:
        """[W b] <- [W b] - (U M) M^T, or (U N) N^T where the complement N of M is thinner."""
        grads = self.gradients(next(self.fresh))
        with torch.no_grad():
            for i, basis, rest in zip(WEIGHTS, self.bases, self.complements, strict=True):
                weight, bias = grads[i], grads[i + 1]
                thin, kept, taken = (basis, 1, -1) if basis.shape[1] <= rest.shape[1] else (rest, 0, 1)
                spanned = torch.addr(weight @ thin[:-1], bias, thin[-1])
                weight.addmm_(spanned, thin[:-1].T, beta=kept, alpha=taken)
                bias.addmv_(spanned, thin[-1], beta=kept, alpha=taken)
        self.optimizer.step()

    def agem(self) -> None:
        """u <- u - r <u, r> / <r, r> where that is needed."""
        reference = self.gradients(next(self.drawn))
        grads = self.gradients(next(self.fresh))
        with torch.no_grad():
            pairs = [(g.view(-1), r.view(-1)) for g, r in zip(grads, reference, strict=True)]
            along = sum(float(torch.dot(g, r)) for g, r in pairs)
            if along < 0.0:
                squared = sum(float(torch.dot(r, r)) for _, r in pairs)
                torch._foreach_add_(grads, reference, alpha=-along / squared)
        self.optimizer.step()

    def gem(self) -> None:
        """u <- u - G^T v where that is needed."""
        size = sum(p.numel() for p in self.params)
        matrix = torch.empty(len(self.groups), size)
        for row, group in zip(matrix, self.groups, strict=True):
            torch.cat([g.view(-1) for g in self.gradients(group)], out=row)
        grads = self.gradients(next(self.fresh))
        with torch.no_grad():
            flat = torch.cat([g.view(-1) for g in grads])
            along = -(matrix @ flat).double().numpy()
            if (along > 0.0).any():
                v = multipliers((matrix @ matrix.T).double().numpy(), along)
                flat = torch.addmv(flat, matrix.T, torch.from_numpy(v.astype(np.float32)))
                pieces = torch.split(flat, [p.numel() for p in self.params])
                for p, piece in zip(self.params, pieces, strict=True):
                    p.grad = piece.view(p.shape)
        self.optimizer.step()


FLOORS = {
    "naive": Floor.naive,
    "ewc": Floor.quadratic,
    "si": Floor.si,
    "mas": Floor.quadratic,
    "gpm": Floor.gpm,
    "agem": Floor.agem,
    "gem": Floor.gem,
}


def measure(
    *, rounds: int, steps: int, warm: int = 500, only: list[str] | None = None
) -> list[dict[str, object]]:
    """One row per method: microseconds, the ratio to its floor with quartiles, the ratio to `naive`."""
    streams = contexts()
    names = sorted({"naive", *(only or methods.known(plain=True))})
    cases: dict[str, Step] = {}
    for name in names:
        learner = prepared(name, streams)
        if name in FLOORS:
            cases[f"{name}/floor"] = partial(FLOORS[name], Floor(learner, streams[-1]))
        cases[name] = tenuto(learner, streams[-1])
    for step in cases.values():
        for _ in range(warm):
            step()
    times = interleave(cases, rounds=rounds, steps=steps, warm=5)
    found = []
    for name in names:
        row: dict[str, object] = {"method": name, "us": round(times[name].median, 1)}
        if name in FLOORS:
            ratio, low, high = times[name].over(times[f"{name}/floor"])
            row |= {
                "floor_us": round(times[f"{name}/floor"].median, 1),
                "over_floor": round(ratio, 3),
                "quartiles": [round(low, 3), round(high, 3)],
                "target": TARGET,
            }
        row["over_naive"] = round(times[name].over(times["naive"])[0], 2)
        found.append(row)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=30, help="steps per round and case")
    parser.add_argument("--method", action="append", help="these methods only; may be repeated")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    settle()
    found = measure(rounds=arguments.rounds, steps=arguments.steps, only=arguments.method)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    head = ["method", "us", "floor_us", "over_floor", "quartiles", "target", "over_naive"]
    cells = [[row.get(name, "") for name in head] for row in found]
    lines = [[f"{c[0]:.3f}-{c[1]:.3f}" if isinstance(c, list) else str(c) for c in line] for line in cells]
    print(table([name.replace("_", " ") for name in head], lines))
    print("CPU time of a step, medians over interleaved rounds; over floor with quartiles.")


if __name__ == "__main__":
    main()
