"""CLINC150's ten domains, an adapter for each, and a router between them; then all ten in one.

MiniLM and rows as in `benchmarks.clinc_lora`: the base frozen and held in bfloat16, rank 8 on the queries and
values of its two upper blocks, a head over the mean states of the upper three; what lies below no adapter
reaches, so its states are computed once (`benchmarks.upper`). Every domain's 1,500 sentences
come once; each row names its domain while it is learned, none at test. Told are: the share of test sentences
that the router gives to their domain's adapter; how many of them it takes for strangers, of which one in
twenty was asked for, and how many of the 1,000 sentences of no domain; the intents answered right, by the
nearest adapter, with strangers counted as wrong, and where the domain is told; what a domain lost since it
was best. Then one adapter of the same rank is taught what all ten answer: to the 1,500 sentences that memory
holds, and to all 15,000, as a home's journal keeps them.

    python -m benchmarks.progressive [--seeds 0 1 2] [--out runs.jsonl] [--json]
    python -m benchmarks.progressive --validate --seeds 100      on the rows that settings are chosen on

With --out each run is written when it is done, and an interrupted command goes on from there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.clinc import rows as clinc150
from benchmarks.common import data, settle
from benchmarks.contexts import Rows
from benchmarks.runs import Runs
from benchmarks.timing import table
from benchmarks.upper import States, Upper
from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.adapters.lora import adapt
from tenuto.evaluation import AccuracyMatrix, interval
from tenuto.models.bases import load
from tenuto.models.reading import Reading
from tenuto.progression import Progression
from tenuto.randomness import torch_draws
from tenuto.studies.distil import distil

LENGTH, UPPER = 48, (4, 5)
"""Tokens of a row, blocks with an adapter."""
TOGETHER = 256
"""Rows that are asked at once."""
SETTINGS: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "batch_size": 32,
    "memory_size": 1500,
}
EPOCHS = {"memory": 10, "all": 2}
"""Passes of the distillation over the rows that memory holds, and over all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one seed gave, as shares.

    Args:
        router: test rows given to their domain's adapter.
        turned: test rows taken for strangers.
        strangers: rows of no domain taken for strangers.
        intents, sure, told: answered right by the nearest adapter; with strangers counted as wrong; by the
            domain's own adapter.
        forgetting: what a domain lost since it was best.
        memory, all: answered right by one adapter distilled from all ten, over the rows that memory holds, or
            over all that came.
        numbers: learned numbers of all adapters, and of the distilled one.
        seconds: CPU time of learning, and of distilling from memory and from all.
    """

    router: float
    turned: float
    strangers: float
    intents: float
    sure: float
    told: float
    forgetting: float
    memory: float
    all: float
    numbers: list[int]
    seconds: list[float]


def encoder(states: States, seed: int, outputs: int = 0) -> Upper:
    """MiniLM with one adapter."""
    base = load("minilm", dtype="bfloat16").model
    with torch_draws(seed, "head", 0):
        return Upper(adapt(base, layers=UPPER, seed=seed), states, UPPER[0], outputs)


def learn(rows: Rows, strangers: Tensor, states: States, seed: int) -> Run:
    """Learn the domains one after another, test, and distil."""
    learner = Learner(
        encoder(states, seed), OnlineLearnerConfig.of({**SETTINGS, "seed": seed}), method="progressive"
    )
    adapters = learner.adapters
    if adapters is None:
        raise TypeError("the method gives no context an adapter of its own")
    domains = rows.test_labels // rows.per
    seconds, matrix, answered = 0.0, [], Answered(learner, adapters, rows)
    for number, part in enumerate(rows.contexts(seed, None)):
        start = time.process_time()
        for batch in part.split(SETTINGS["batch_size"]):
            named = [f"domain-{number}"] * len(batch)
            learner.learn_batch(Batch(rows.inputs[batch], rows.labels[batch], None, named))
        learner.consolidate()
        seconds += time.process_time() - start
        matrix.append(answered.by_domain(number + 1))
        print(f"seed {seed}, domain {number}: {matrix[-1][number]:.3f}", file=sys.stderr, flush=True)
    routed = [name for part in rows.test_inputs.split(TOGETHER) for name in learner.route(part)]
    near = adapters.router.nearest(answered.embedded)
    own = [f"domain-{domain}" for domain in domains.tolist()]
    said = [label for part in rows.test_inputs.split(TOGETHER) for label in learner.predict(part).labels]
    right = torch.tensor(said) == rows.test_labels
    kept = torch.tensor([name is not None for name in routed])
    odd = [name for part in strangers.split(TOGETHER) for name in learner.route(part)]
    test, found, spent = Batch(rows.test_inputs, rows.test_labels), {}, []
    numbers = [adapters.numbers]
    for which, epochs in EPOCHS.items():
        start = time.process_time()
        made = distil(
            learner,
            encoder(states, seed + 1, rows.classes),
            rows=Batch(rows.inputs, rows.labels) if which == "all" else None,
            test=test,
            epochs=epochs,
            learning_rate=SETTINGS["learning_rate"],
            batch_size=SETTINGS["batch_size"],
            seed=seed,
        )
        spent.append(time.process_time() - start)
        found[which] = made.after.accuracy or 0.0
        print(f"seed {seed}, distilled from {which}: {found[which]:.4f}", file=sys.stderr, flush=True)
    return Run(
        router=sum(map(str.__eq__, near, own)) / len(own),
        turned=routed.count(None) / len(routed),
        strangers=odd.count(None) / len(odd),
        intents=right.double().mean().item(),
        sure=(right & kept).double().mean().item(),
        told=answered.told(),
        forgetting=AccuracyMatrix(values=matrix).forgetting or 0.0,
        memory=found["memory"],
        all=found["all"],
        numbers=[*numbers, made.after.parameters],
        seconds=[seconds, *spent],
    )


class Answered:
    """What closed adapters answer to the test rows; each is asked about a row once, for it never changes.

    Args:
        learner, adapters, rows: the learner, its adapters, and the rows to test on.
    """

    def __init__(self, learner: Learner, adapters: Progression, rows: Rows) -> None:
        self._learner, self._adapters, self._rows = learner, adapters, rows
        self._domains = rows.test_labels // rows.per
        self._right: dict[str, Tensor] = {}
        self.embedded = torch.zeros(0)

    def by_domain(self, known: int) -> list[float]:
        """The accuracy on each domain through the router; 0 on those not seen yet."""
        if not len(self.embedded):
            parts = self._rows.test_inputs.split(TOGETHER)
            self.embedded = torch.cat([self._adapters.embed(part) for part in parts])
        seen = (self._domains < known).nonzero()[:, 0]
        names = self._adapters.router.nearest(self.embedded[seen])
        right = torch.tensor([self._is_right(name, row) for name, row in self._told(names, seen)])
        found = [right[self._domains[seen] == domain].double().mean().item() for domain in range(known)]
        return found + [0.0] * (self._rows.classes // self._rows.per - known)

    def told(self) -> float:
        """The accuracy where each row's domain is told."""
        names = [f"domain-{domain}" for domain in self._domains.tolist()]
        pairs = self._told(names, torch.arange(len(names)))
        return sum(self._is_right(name, row) for name, row in pairs) / len(pairs)

    def _told(self, names: list[str], rows: Tensor) -> list[tuple[str, int]]:
        """Pairs of adapter and row, all of which have been asked when this returns."""
        pairs = list(zip(names, rows.tolist(), strict=True))
        for name in dict.fromkeys(names):
            right = self._right.setdefault(name, torch.full((len(self._domains),), -1))
            new = torch.tensor([row for other, row in pairs if other == name and right[row] < 0])
            for part in new.split(TOGETHER) if len(new) else ():
                said = self._adapters.answer(name, self._rows.test_inputs[part]).argmax(1)
                classes = torch.tensor(self._learner.task.classes)
                right[part] = (classes[said] == self._rows.test_labels[part]).long()
        return pairs

    def _is_right(self, name: str, row: int) -> bool:
        return bool(self._right[name][row] > 0)


def numbered(part: str) -> tuple[Rows, Tensor, States]:
    """CLINC150 with sentences as numbers (n, 1), those of no domain, and the states they stand for."""
    base = load("minilm", dtype="bfloat16")
    reading, tokens = Reading(base, length=LENGTH), []

    def read(texts: Sequence[str]) -> Tensor:
        first = sum(map(len, tokens))
        tokens.append(torch.from_numpy(reading.rows(texts)))
        return torch.arange(first, first + len(texts), dtype=torch.int32)[:, None]

    rows = clinc150(read)
    with gzip.open(data("clinc150") / "data_full.json.gz") as file:
        odd = read([text for text, _ in json.load(file)[part]])
    return rows, odd, States(base.model, torch.cat(tokens), UPPER[0])


def line(name: str, runs: list[Run]) -> list[str]:
    """A row of the table: the mean over seeds with its 95 % interval, and each."""
    shares = [100 * getattr(run, name) for run in runs]
    found = interval(shares)
    spread = "" if found.half_width is None else f" ± {found.half_width:.1f}"
    return [name, f"{found.mean:.1f}{spread}", " ".join(f"{share:.2f}" for share in shares)]


def main() -> None:
    """Run what is not written yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--validate", action="store_true", help="test on the validation rows")
    parser.add_argument("--out", type=Path, help="JSON lines: each run as it is done, read at the start")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    settle()
    torch.set_num_threads(1)
    rows, odd, states = numbered("oos_val" if arguments.validate else "oos_test")
    rows = rows.validation() if arguments.validate else rows
    how = {"settings": SETTINGS, "epochs": EPOCHS, "validation": arguments.validate}
    kept = Runs(arguments.out)
    runs = [
        Run(**kept.get({"seed": seed, "how": how}, lambda seed=seed: asdict(learn(rows, odd, states, seed))))
        for seed in arguments.seeds
    ]
    if arguments.json:
        told = [{"seed": seed, **asdict(run)} for seed, run in zip(arguments.seeds, runs, strict=True)]
        print(json.dumps(told, indent=2))
        return
    names = ("router", "turned", "strangers", "intents", "sure", "told", "forgetting", "memory", "all")
    print(table(["%", "mean", "each seed"], [line(name, runs) for name in names]))
    numbers, seconds = runs[0].numbers, [sum(run.seconds[n] for run in runs) / len(runs) for n in (0, 1, 2)]
    print(f"{numbers[0]:,} learned numbers in ten adapters with their heads, {numbers[1]:,} in one")
    told = f"{seconds[1]:.0f} to distil from memory, {seconds[2]:.0f} from all"
    print(f"{seconds[0]:.0f} s of CPU to learn, {told}")


if __name__ == "__main__":
    main()
