"""Does a sleep help? Split-MNIST, 1,000 rows a context, replay from 500 remembered rows, asleep and awake.

A sleep of 100 updates at the end of each context doubles the updates, so it stands beside three learners
that never sleep: one of a single pass, and two with as many updates as the sleeper, one making two of each
batch, the other one of each half of it, filled up with replayed rows. Every update is of 20 rows; memory is
the same size.

    python -m benchmarks.sleep             the settings chosen, seeds 0-9, differences paired by seed
    python -m benchmarks.sleep tune        every setting tried, on the validation rows, seeds 100-104

Average: accuracy on all five contexts after the last. Anytime: on those seen so far, at each fifth of each
context, so never right after a sleep. Newest, older: on a context at its own end, after its sleep, and on
those before it; gained: by the sleep.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from statistics import fmean
from typing import Any

import torch

from benchmarks.common import settle
from benchmarks.contexts import BATCH, MEMORY, Rows, Setting, learn, mnist
from benchmarks.timing import table
from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.evaluation import interval
from tenuto.models import MLP
from tenuto.randomness import torch_draws

ROWS, UPDATES = 1000, 100
TUNING_SEEDS, SEEDS = range(100, 105), range(10)
RATES, RECENT, DISTIL = (0.1, 0.2, 0.3, 0.5), (0.05, 0.1, 0.25, 0.5, 0.75), (0.0, 1.0)

SLEEPER = "one pass and sleeps"
KINDS: dict[str, dict[str, Any]] = {
    "one pass": {},
    "two passes": {"passes": 2},
    "halves": {"batch_size": 5, "replay_ratio": 0.75},
    SLEEPER: {"sleep_updates": UPDATES},
}
"""What each kind of learner is, beside the settings that are chosen for it."""
CHOSEN: dict[str, dict[str, Any]] = {
    "one pass": {"learning_rate": 0.2},
    "two passes": {"learning_rate": 0.2},
    "halves": {"learning_rate": 0.2},
    SLEEPER: {"learning_rate": 0.3, "sleep_recent": 0.05},
}
"""Of each kind the best of `tune`."""


def made(kind: str, chosen: Mapping[str, Any]) -> Setting:
    """A kind of learner under the settings chosen for it."""
    return Setting(method="er", config={**KINDS[kind], **chosen}, consolidates=kind == SLEEPER)


def tried(kind: str) -> list[Setting]:
    """Every setting tried of a kind: each has its own choice of the rate."""
    if kind != SLEEPER:
        return [made(kind, {"learning_rate": rate}) for rate in RATES]
    grid = product(RATES, RECENT, DISTIL)
    return [
        made(kind, {"learning_rate": rate, "sleep_recent": recent, "sleep_distil": distil})
        for rate, recent, distil in grid
    ]


def tune(rows: Rows, kinds: Sequence[str], match: str) -> None:
    """Print every setting's average on validation rows, best first."""
    for name in kinds:
        lines = []
        for setting in [setting for setting in tried(name) if match in str(setting)]:
            runs = [learn(rows, setting, s, count=ROWS, head="fixed", every=False) for s in TUNING_SEEDS]
            lines.append((fmean(run.average for run in runs), str(setting)))
        print(name)
        print(table(["setting", "average"], [[s, f"{mean:.4f}"] for mean, s in sorted(lines, reverse=True)]))
        sys.stdout.flush()


@dataclass(slots=True)
class Night:
    """What one seed gave: accuracies on the contexts seen so far, newest last.

    Args:
        moments: at each fifth of each context, before it ends with a sleep.
        ends: after each context, and its sleep.
        seconds: CPU time spent learning and sleeping.
    """

    moments: list[list[float]] = field(default_factory=list)
    ends: list[list[float]] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0

    @property
    def average(self) -> float:
        """On all contexts after the last, which is right after a sleep."""
        return fmean(self.ends[-1])

    @property
    def anytime(self) -> float:
        """On the contexts seen so far, at 25 moments none of which is right after a sleep."""
        return fmean(map(fmean, self.moments))

    @property
    def newest(self) -> float:
        """On a context at its own end."""
        return fmean(row[-1] for row in self.ends)

    @property
    def older(self) -> float:
        """On those before it."""
        return fmean(fmean(row[:-1]) for row in self.ends[1:])

    @property
    def newest_gained(self) -> float:
        """By a sleep, on the context that ends with it."""
        return self.newest - fmean(row[-1] for row in self.moments[4::5])

    @property
    def older_gained(self) -> float:
        """By a sleep, on those before it."""
        return self.older - fmean(fmean(row[:-1]) for row in self.moments[9::5])


MEASURES = ("average", "anytime", "newest", "older", "newest_gained", "older_gained")


def live(rows: Rows, setting: Setting, seed: int) -> Night:
    """Learn one stream, sleeping where the setting says so; tested on the way."""
    fixed = {"seed": seed, "batch_size": BATCH, "memory_size": MEMORY, "head": "fixed"}
    with torch_draws(seed, "model", 0):
        model = MLP(rows.inputs.shape[1], (400, 400), rows.classes)
    learner = Learner(model, OnlineLearnerConfig.of({**fixed, **setting.config}), method=setting.method)
    found = Night()
    for seen, part in enumerate(rows.contexts(seed, ROWS), start=1):
        for piece in part.tensor_split(5):
            start = time.process_time()
            for batch in piece.split(learner.config.batch_size):
                learner.learn_batch(Batch(rows.inputs[batch], rows.labels[batch]))
            found.seconds += time.process_time() - start
            found.moments.append(_asked(learner, rows)[:seen])
        start = time.process_time()
        if setting.consolidates:
            learner.consolidate()
        found.seconds += time.process_time() - start
        found.ends.append(_asked(learner, rows)[:seen])
    found.refused = learner.stats.refused
    return found


def _asked(learner: Learner, rows: Rows) -> list[float]:
    return rows.accuracies(torch.tensor(learner.predict(rows.test_inputs).labels))[0]


def compare(rows: Rows, seeds: Sequence[int]) -> None:
    """Print the chosen settings side by side, and the sleeper's differences seed by seed."""
    nights = {
        kind: [live(rows, made(kind, chosen), seed) for seed in seeds] for kind, chosen in CHOSEN.items()
    }
    lines = []
    for kind, mine in nights.items():
        cells = [_spell([getattr(night, name) for night in mine]) for name in MEASURES]
        lines.append([kind, *cells, f"{fmean(night.seconds for night in mine):.1f}"])
    for kind in list(nights)[:-1]:
        pairs = list(zip(nights[SLEEPER], nights[kind], strict=True))
        cells = [
            _spell([getattr(a, name) - getattr(b, name) for a, b in pairs], "+") for name in MEASURES[:4]
        ]
        lines.append([f"sleeps, less {kind}", *cells, "", "", ""])
    print(table(["", *MEASURES, "s"], lines))
    for kind, chosen in CHOSEN.items():
        refused = sum(night.refused for night in nights[kind])
        print(f"{kind}: {made(kind, chosen)}; rows refused: {refused}")


def _spell(values: Sequence[float], sign: str = "") -> str:
    found = interval([100 * value for value in values])
    return f"{found.mean:{sign}.2f}" + ("" if found.half_width is None else f" ± {found.half_width:.2f}")


def main() -> None:
    """Compare, or tune."""
    parser = argparse.ArgumentParser(prog="sleep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", nargs="?", choices=("compare", "tune"), default="compare")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="compare: how many")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS), help="tune: which")
    parser.add_argument("--match", default="", help="tune: only settings that contain this text")
    arguments = parser.parse_args()
    settle()
    if arguments.verb == "tune":
        tune(mnist().validation(), arguments.kinds, arguments.match)
    else:
        compare(mnist(), range(arguments.seeds))


if __name__ == "__main__":
    main()
