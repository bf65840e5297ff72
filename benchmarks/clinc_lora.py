"""CLINC150's ten domains learned one after another by MiniLM with a LoRA adapter; no domain is told.

The base is frozen and held in bfloat16. Rank 8 on the queries and values of the two upper of its six blocks,
and a head over the mean states of the upper three, which grows to 150 intents. Every domain's 1,500 sentences
come once, in a seed's order, 32 at a time; memory holds 1,500 rows, ten per intent in the end. Accuracy is
the mean over domains of the share of their test sentences given the right one of all intents known;
forgetting, what a domain lost since it was best. `joint` sees all sentences mixed, `epochs` times, at a rate
that falls to nothing: what there is to reach. `slda` has no adapter and keeps no rows: its head is the closed
form of the means of all intents and one covariance, 12 MB in float64, where 1,500 rows of tokens are 0.6;
`slda-last` reads the last block alone. An adapter for each domain has a command of its own:
`benchmarks.progressive`.

    python -m benchmarks.clinc_lora [--methods naive er ...] [--seeds 0 1 2] [--out runs.jsonl] [--json]
    python -m benchmarks.clinc_lora --validate --seeds 100       on the rows that settings are chosen on

With --out each run is written when it is done, and an interrupted command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.clinc import rows as clinc150
from benchmarks.common import settle
from benchmarks.contexts import Rows
from benchmarks.runs import Runs
from benchmarks.timing import table
from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.adapters.lora import adapt
from tenuto.evaluation import AccuracyMatrix, interval
from tenuto.models import MLP
from tenuto.models.bases import load
from tenuto.models.encoder import Encoder
from tenuto.models.reading import Reading
from tenuto.randomness import permutation

LENGTH, UPPER = 48, (4, 5)
"""Tokens of a row, blocks with an adapter."""
TOGETHER = 256
"""Rows that are asked at once."""
SETTINGS: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "batch_size": 32,
    "memory_size": 1500,
    "insertion": "class_balanced",
    "boundaries": "none",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one seed gave.

    Args:
        matrix: accuracies (moments, domains); 0 for domains that are yet to come.
        seconds: CPU time spent learning, reading the sentences included.
        refused: rows whose update the guard rejected.
    """

    matrix: list[list[float]]
    seconds: float
    refused: int

    @property
    def average(self) -> float:
        """Accuracy at the end, averaged over domains."""
        return sum(self.matrix[-1]) / len(self.matrix[-1])

    @property
    def forgetting(self) -> float | None:
        """What a domain lost since it was best; None where domains were mixed."""
        return AccuracyMatrix(values=self.matrix).forgetting


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How a method is run.

    Args:
        method: its name in the library.
        options: its own options.
        config: settings that differ from `SETTINGS`.
        layers: blocks with an adapter; none: the base as it is.
        blocks: how many of the last blocks the head reads.
        epochs: passes over all sentences, mixed; 0: domain by domain, once.
        consolidates: is the learner told when a domain ends?
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[int, ...] = UPPER
    blocks: int = 3
    epochs: int = 0
    consolidates: bool = False


WAYS: dict[str, Way] = {
    "naive": Way(method="naive"),
    "er": Way(method="er"),
    "hybrid": Way(
        method="hybrid", options={"distil": 1.0, "fisher": "sampled", "rows": 200}, consolidates=True
    ),
    "derpp": Way(method="derpp", options={"alpha": 0.3, "beta": 1.0}),
    "slda": Way(method="slda", layers=()),
    "slda-last": Way(method="slda", layers=(), blocks=1),
    "joint": Way(method="naive", epochs=2),
}
"""Every row of the table. One that is not a single learner is a function in `RUNS` beside them."""

Learn = Callable[[Rows, int], Run]


def encoder(way: Way, seed: int) -> Encoder:
    """MiniLM as this way learns it."""
    base = load("minilm", dtype="bfloat16").model
    return Encoder(adapt(base, layers=way.layers, seed=seed) if way.layers else base, blocks=way.blocks)


@cache
def vectors(rows: Rows, blocks: int) -> tuple[Rows, float]:
    """What the head of a base without an adapter reads of every row, once for all seeds; and CPU seconds."""
    start, model = time.process_time(), encoder(Way(method="slda", layers=(), blocks=blocks), 0)
    with torch.no_grad():
        found = [
            torch.cat([model.embed(part.long()) for part in inputs.split(TOGETHER)])
            for inputs in (rows.inputs, rows.test_inputs)
        ]
    read = replace(rows, inputs=found[0], test_inputs=found[1])
    share = len(rows.inputs) / (len(rows.inputs) + len(rows.test_inputs))
    return read, share * (time.process_time() - start)


def learn(way: Way, rows: Rows, seed: int) -> Run:
    """Learn in this way; where nothing but the head learns, the base reads every sentence once."""
    if way.layers:
        return run(way, rows, seed, encoder(way, seed))
    read, seconds = vectors(rows, way.blocks)
    found = run(way, read, seed, MLP(read.inputs.shape[1], (), 0))
    return replace(found, seconds=found.seconds + seconds)


def run(way: Way, rows: Rows, seed: int, model: nn.Module) -> Run:
    """Learn the domains one after another, or all of them mixed; test after each, or after each pass."""
    config = OnlineLearnerConfig.of({**SETTINGS, **way.config, "seed": seed})
    learner = Learner(model, config, method=way.method, options=way.options)
    matrix, seconds = [], 0.0
    for known, part in _parts(way, rows, seed):
        start = time.process_time()
        batches = part.split(config.batch_size)
        for number, batch in enumerate(batches):
            if way.epochs:
                left = 1 - (len(matrix) + number / len(batches)) / way.epochs
                learner.configure({"learning_rate": config.learning_rate * left})
            learner.learn_batch(Batch(rows.inputs[batch], rows.labels[batch]))
        if way.consolidates:
            learner.consolidate()
        seconds += time.process_time() - start
        matrix.append(accuracies(learner, rows, known))
    return Run(matrix=matrix[-1:] if way.epochs else matrix, seconds=seconds, refused=learner.stats.refused)


def _parts(way: Way, rows: Rows, seed: int) -> Iterator[tuple[int, Tensor]]:
    """How many domains were seen after each part, and the numbers of its rows."""
    domains = rows.contexts(seed, None)
    if not way.epochs:
        yield from enumerate(domains, 1)
        return
    mixed = torch.cat(domains)
    for epoch in range(way.epochs):
        yield len(domains), mixed[torch.from_numpy(permutation(seed, f"joint {epoch}", len(mixed)))]


def accuracies(learner: Learner, rows: Rows, known: int) -> list[float]:
    """The accuracy on each domain; 0 on those not seen yet, whose intents have no name."""
    domains = rows.test_labels // rows.per
    asked = (domains < known).nonzero()[:, 0]
    said = [
        label for part in rows.test_inputs[asked].split(TOGETHER) for label in learner.predict(part).labels
    ]
    right = (torch.tensor(said) == rows.test_labels[asked]).double()
    found = [right[domains[asked] == domain].mean().item() for domain in range(known)]
    return found + [0.0] * (rows.classes // rows.per - known)


RUNS: dict[str, tuple[Learn, dict[str, Any]]] = {
    name: (partial(learn, way), {**asdict(way), "settings": SETTINGS}) for name, way in WAYS.items()
}
"""What makes each row of the table, and how it was set: a run written under other settings is another."""


def line(name: str, runs: Sequence[Run]) -> list[str]:
    """A row of the table: means over seeds with their 95 % intervals, in points."""
    lost = [run.forgetting for run in runs if run.forgetting is not None]
    return [
        name,
        _spell([run.average for run in runs]),
        f"{100 * min(run.average for run in runs):.1f}",
        _spell(lost) if lost else "",
        f"{sum(run.seconds for run in runs) / len(runs):.0f}",
        str(sum(run.refused for run in runs)),
    ]


def _spell(shares: Sequence[float]) -> str:
    found = interval([100 * share for share in shares])
    return f"{found.mean:.1f}" + ("" if found.half_width is None else f" ± {found.half_width:.1f}")


def main() -> None:
    """Run what is not written yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--methods", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--validate", action="store_true", help="test on the validation rows")
    parser.add_argument(
        "--out", type=Path, help="JSON lines: each run as it is done, read again at the start"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    settle()
    torch.set_num_threads(1)
    reading = Reading(load("minilm"), length=LENGTH)
    rows = clinc150(lambda texts: torch.from_numpy(reading.rows(texts)))
    rows = rows.validation() if arguments.validate else rows
    runs, found = Runs(arguments.out), {}
    for seed in arguments.seeds:
        for name in arguments.methods:
            made, how = RUNS[name]
            about = {"method": name, "seed": seed, "validation": arguments.validate, "how": how}
            told = runs.get(about, lambda made=made, seed=seed: asdict(made(rows, seed)))
            found[name, seed] = got = Run(**told)
            said = f"{name}, seed {seed}: {got.average:.4f} in {got.seconds:.0f} s"
            print(said, file=sys.stderr, flush=True)
    if arguments.json:
        print(
            json.dumps([{"method": name, "seed": seed, **asdict(run)} for (name, seed), run in found.items()])
        )
        return
    head = ["method", "accuracy, %", "lowest", "forgetting, points", "CPU s", "refused"]
    print(table(head, [line(n, [found[n, seed] for seed in arguments.seeds]) for n in arguments.methods]))
    part = "validation" if arguments.validate else "test"
    print(f"seeds {', '.join(map(str, arguments.seeds))}, {part} rows; mean ± 95 % interval over seeds")


if __name__ == "__main__":
    main()
