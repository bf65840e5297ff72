"""What is worth remembering: insertion x sampling policies on class-incremental streams, 200 rows remembered.

Split-MNIST is the protocol of `split_mnist` with experience replay: five contexts of two digits, one pass,
batches of 10 rows joined by 10 from memory, MLP 784-400-400-10. CLINC150 is the same with ten domains of 15
intents and one linear layer on MiniLM's vectors; its validation set is there to choose on, its test set to
confirm on. All but the two policies is equal, seed by seed: rows, their order, weights, draws' keys.

The pair is chosen by its mean accuracy on rows held out of the training set, on the first seeds, and
confirmed on the test set, on other seeds, where every pair is run again: the table shows all of them, losers
included, and the difference to reservoir x uniform seed by seed. Diversity, after each context: the mean
distance of a remembered row to the nearest other one of its class, and how evenly the classes seen are held
(entropy over its maximum; a class that is not held counts).

    python -m benchmarks.memory_quality [--data mnist|clinc150|digits] [--seeds 0-9] [--confirm 10-19]
        [--rows N|all] [--lines] [--json PATH]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from math import log
from pathlib import Path

import torch

from benchmarks.clinc import clinc150
from benchmarks.common import settle
from benchmarks.contexts import BATCH, RATE, SOURCES, Rows
from benchmarks.split_mnist import _count, _numbers
from benchmarks.timing import table
from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.evaluation import Interval, interval, paired_interval
from tenuto.models import MLP
from tenuto.randomness import torch_draws

INSERTION = ("reservoir", "class_balanced", "ring", "gss", "surprise", "coreset", "mixed", "herding")
SAMPLING = ("uniform", "balanced", "prioritized", "uncertain", "diverse")
ALONE = (("greedy", "uniform"), ("fifo", "uniform"))
"""Pairs run beside the product: policies known to be for something else."""
PLAIN = ("reservoir", "uniform")
LINES = (*product(INSERTION, ("uniform",)), *product(("reservoir", "herding"), SAMPLING))
"""Fewer than all: every insertion with uniform, every sampling with reservoir and with herding."""
MEMORY = 200
DATA = {**SOURCES, "clinc150": clinc150}

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One pair under one seed.

    Args:
        accuracy: at the end, averaged over the contexts.
        spread: after each context, the mean distance to the nearest other row of the class.
        evenness: after each context, the entropy of the classes held over that of equal shares of those seen.
        refused: rows whose update the guard rejected.
    """

    accuracy: float
    spread: list[float]
    evenness: list[float]
    refused: int


def learn(rows: Rows, pair: Pair, seed: int, *, count: int | None) -> Run:
    """Learn one stream."""
    insertion, sampling = pair
    config = OnlineLearnerConfig(
        seed=seed,
        learning_rate=RATE,
        memory_size=MEMORY,
        head="fixed",
        insertion=insertion,
        sampling=sampling,
    )
    with torch_draws(seed, "model", 0):
        model = MLP(rows.inputs.shape[1], (400, 400) if rows.held is None else (), rows.classes)
    learner = Learner(model, config, method="er")
    spread, evenness = [], []
    for part in rows.contexts(seed, count):
        for batch in part.split(BATCH):
            learner.learn_batch(Batch(rows.inputs[batch], rows.labels[batch]))
        spread.append(apart(learner))
        evenness.append(even(learner, rows.per * len(spread)))
    accuracies, _ = rows.accuracies(torch.tensor(learner.predict(rows.test_inputs).labels))
    average = sum(accuracies) / len(accuracies)
    return Run(accuracy=average, spread=spread, evenness=evenness, refused=learner.stats.refused)


def apart(learner: Learner) -> float:
    """The mean distance of a remembered row to the nearest other one of its class."""
    memory, found = learner.memory, []
    for slots in memory.members().values() if memory else ():
        inputs = learner.body.read(memory.table.get(slots)["inputs"]).double()
        if len(slots) > 1:
            found.append(torch.cdist(inputs, inputs).fill_diagonal_(torch.inf).amin(1))
    return torch.cat(found).mean().item() if found else 0.0


def even(learner: Learner, seen: int) -> float:
    """The entropy of the classes held, over that of equal shares of all that were seen."""
    sizes = list(learner.memory.groups().values()) if learner.memory else []
    return -sum(n / sum(sizes) * log(n / sum(sizes)) for n in sizes) / log(seen)


def sweep(
    rows: Rows, pairs: Sequence[Pair], seeds: Sequence[int], count: int | None, title: str
) -> dict[Pair, list[Run]]:
    """Every pair over the seeds."""
    runs: dict[Pair, list[Run]] = {pair: [] for pair in pairs}
    for seed, pair in product(seeds, pairs):
        runs[pair].append(learn(rows, pair, seed, count=count))
        _progress(f"{title}: seed {seed}, {' x '.join(pair)}: {runs[pair][-1].accuracy:.3f}")
    _progress("")
    return runs


def show(runs: dict[Pair, list[Run]]) -> str:
    """All pairs, best first."""
    lines = []
    for pair, found in sorted(runs.items(), key=lambda item: -_mean(item[1])):
        difference = paired_interval([run.accuracy for run in found], [run.accuracy for run in runs[PLAIN]])
        spread = [sum(run.spread[i] for run in found) / len(found) for i in range(len(found[0].spread))]
        evenness = [sum(run.evenness[i] for run in found) / len(found) for i in range(len(spread))]
        lines.append(
            [
                " x ".join(pair),
                _spell(interval([run.accuracy for run in found])),
                "-" if pair == PLAIN else _spell(difference, signed=True),
                " ".join(f"{value:.1f}" for value in spread),
                " ".join(f"{value:.2f}" for value in evenness),
                str(sum(run.refused for run in found)),
            ]
        )
    head = [
        "insertion x sampling",
        "accuracy, %",
        "less reservoir x uniform",
        "spread by context",
        "evenness by context",
        "refused",
    ]
    return table(head, lines)


def verdict(best: Pair, runs: dict[Pair, list[Run]]) -> str:
    """Whether the chosen pair is confirmed: its difference on new seeds is above 0 by its whole interval."""
    mine, plain = ([run.accuracy for run in runs[pair]] for pair in (best, PLAIN))
    found = paired_interval(mine, plain)
    if best == PLAIN:
        return "chosen: reservoir x uniform itself; no pair did better on the first seeds"
    sure = found.low is not None and found.low > 0
    word = "confirmed" if sure else "not confirmed"
    return f"chosen: {' x '.join(best)}; {word}: {_spell(found, signed=True)} points, 95 %, n = {found.n}"


def _mean(runs: Sequence[Run]) -> float:
    return sum(run.accuracy for run in runs) / len(runs)


def _spell(found: Interval, *, signed: bool = False) -> str:
    mean = f"{100 * found.mean:+.2f}" if signed else f"{100 * found.mean:.2f}"
    return mean if found.half_width is None else f"{mean} ± {100 * found.half_width:.2f}"


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Choose a pair and confirm it."""
    parser = argparse.ArgumentParser(prog="memory_quality", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=_numbers, default=_numbers("0-9"), help="to choose on, as 0-9")
    parser.add_argument("--confirm", type=_numbers, default=_numbers("10-19"), help="to confirm on")
    parser.add_argument("--rows", type=_count, default=1000, help="rows per context, or all")
    parser.add_argument("--insertion", type=lambda text: text.split(","), help="default: all")
    parser.add_argument("--sampling", type=lambda text: text.split(","), help="default: all")
    parser.add_argument("--lines", action="store_true", help="18 pairs: all insertions x uniform, and others")
    parser.add_argument("--data", choices=tuple(DATA), default="mnist")
    parser.add_argument("--json", type=Path, help="write every run to this file")
    arguments = parser.parse_args()
    if set(arguments.seeds) & set(arguments.confirm):
        parser.error("the seeds to confirm on must be others than those to choose on")
    settle()
    rows = DATA[arguments.data]()
    some = arguments.insertion or arguments.sampling
    every = product(arguments.insertion or INSERTION, arguments.sampling or SAMPLING)
    asked = [PLAIN, *(LINES if arguments.lines else every), *(() if some else ALONE)]
    pairs = list(dict.fromkeys(asked))
    first = sweep(rows.validation(), pairs, arguments.seeds, arguments.rows, "choosing")
    best = max(first, key=lambda pair: _mean(first[pair]))
    then = sweep(rows, pairs, arguments.confirm, arguments.rows, "confirming")
    for title, seeds, runs in (
        ("held-out rows", arguments.seeds, first),
        ("test set", arguments.confirm, then),
    ):
        print(f"{arguments.data}, memory {MEMORY}, {title}, seeds {seeds[0]}-{seeds[-1]}")
        print(show(runs), end="\n\n")
    print(verdict(best, then))
    if arguments.json:
        record = {
            title: {" x ".join(pair): [asdict(run) for run in found] for pair, found in runs.items()}
            for title, runs in (("choose", first), ("confirm", then))
        }
        arguments.json.write_text(json.dumps({"best": best, **record}))


if __name__ == "__main__":
    main()
