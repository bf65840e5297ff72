"""Streams that move: progressive accuracy with and without an answer to drift, beside River's classifiers.

Elec2 (45,311 half-hours of an electricity market, one row at a time) and MNIST's digits that turn, by leaps
of a random angle every 1,000 of 10,000 rows, or steadily once around (batches of 10). Every row is answered
before it is learned. The learner is `OnlineLearnerConfig.fast()` with ER and the default network; `acting`
has DDM and Page-Hinkley read its errors and answers a rise with a new memory and more passes, which of five
choices of detectors and three answers served best on seeds 100 and 101 and on the first 10,000 rows of Elec2.
River's learners come as they are.

    python -m benchmarks.streams [--seeds N] [--rows N] [--json]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import statistics
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.common import data, settle
from benchmarks.timing import table
from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.evaluation.intervals import interval, paired_interval
from tenuto.studies.papers.streams import Digits, turn

ACTING = {"drift": "ddm+page_hinkley", "drift_answers": ("renew", "passes")}
TURNED, LEAP, STEADY = 10_000, 1000, 50
"""Rows of the digits, between two leaps, and between two steps of a steady turn."""
Stream = list[tuple[Tensor, Tensor]]


def electricity(rows: int | None) -> Stream:
    """Elec2 in its own order, a row at a time: price, demand and transfer, and did the price rise?"""
    with gzip.open(data("electricity") / "electricity.csv.gz", "rt") as file:
        values = [[float(value) for value in row] for row in list(csv.reader(file))[1:][:rows]]
    found = torch.tensor(values)
    return list(zip(found[:, None, :-1], found[:, -1:].long(), strict=True))


def digits(images: Digits, seed: int, rows: int | None, *, leaps: bool) -> Stream:
    """Digits that turn, drawn from MNIST's training rows."""
    draws = torch.Generator().manual_seed(seed)
    inputs, targets = images.train
    chosen = torch.randperm(len(targets), generator=draws)[: rows or TURNED]
    angles = 180 * torch.rand(TURNED // LEAP, generator=draws)
    found: Stream = []
    for start in range(0, len(chosen), 10):
        angle = float(angles[start // LEAP]) if leaps else 360 * (start // STEADY * STEADY) / TURNED
        batch = chosen[start : start + 10]
        found.append((inputs[batch][:, turn(angle)], targets[batch]))
    return found


def progressive(stream: Stream, seed: int, classes: int, settings: dict[str, object]) -> tuple[float, int]:
    """The share of rows answered rightly before they were learned, and the drifts that were found."""
    config = OnlineLearnerConfig.fast().but({"seed": seed, "classes": tuple(range(classes)), **settings})
    learner, right, rows, drifts = Learner(config=config, method="er"), 0, 0, 0
    for inputs, targets in stream:
        trace = learner.learn_batch(Batch(inputs, targets))
        right += int((trace.estimate.outputs[: len(targets)].argmax(1) == targets).sum())
        rows += len(targets)
        drifts += len(trace.drifts)
    return right / rows, drifts


def river(stream: Stream) -> Iterator[tuple[str, float]]:
    """River's classifiers on the rows one by one; none where River is not installed."""
    try:
        from river import dummy, forest, tree
    except ImportError:
        return
    models = {
        "NoChange": dummy.NoChangeClassifier(),
        "HoeffdingAdaptiveTree": tree.HoeffdingAdaptiveTreeClassifier(seed=0),
        "ARF": forest.ARFClassifier(seed=0),
    }
    for name, model in models.items():
        right = 0
        for inputs, targets in stream:
            row, target = dict(enumerate(inputs[0].tolist())), int(targets)
            right += model.predict_one(row) == target
            model.learn_one(row, target)
        yield f"River {name}", right / len(stream)


def measure(seeds: int, rows: int | None) -> list[dict[str, object]]:
    """One row per stream and learner."""
    images = Digits.load(data("mnist"))
    streams: dict[str, tuple[Callable[[int], Stream], int]] = {
        "Elec2": (lambda seed: electricity(rows), 2),
        "digits, leaps": (lambda seed: digits(images, seed, rows, leaps=True), 10),
        "digits, steady": (lambda seed: digits(images, seed, rows, leaps=False), 10),
    }
    found: list[dict[str, object]] = []
    for name, (make, classes) in streams.items():
        plain, acting = [], []
        for seed in range(seeds):
            stream = make(seed)
            plain.append(progressive(stream, seed, classes, {})[0])
            acting.append(progressive(stream, seed, classes, ACTING))
        better = [accuracy for accuracy, _ in acting]
        gain = paired_interval(better, plain)
        drifts = statistics.fmean(count for _, count in acting)
        found.append(_line(name, "without", plain, None, None))
        found.append(_line(name, "acting", better, drifts, _told(100 * gain.mean, gain.half_width)))
        if name == "Elec2":
            found += [_line(name, who, [share], None, None) for who, share in river(make(0))]
    return found


def _line(
    stream: str, learner: str, shares: list[float], drifts: float | None, gain: str | None
) -> dict[str, object]:
    mean = interval(shares)
    told = _told(100 * mean.mean, mean.half_width)
    return {"stream": stream, "learner": learner, "accuracy, %": told, "drifts": drifts, "gain": gain}


def _told(mean: float, half: float | None) -> str:
    return f"{mean:.2f}" if half is None else f"{mean:.2f} +- {100 * half:.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, help="of each stream, from its head; all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    settle()
    found = measure(arguments.seeds, arguments.rows)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    lines = [["" if value is None else str(value) for value in line.values()] for line in found]
    print(table(list(found[0]), lines))
    print(f"progressive accuracy over {arguments.seeds} seeds; gain of acting, paired by seed, in points")


if __name__ == "__main__":
    main()
