"""Measure what three methods keep of five contexts, and write a report that opens without a network.

Handwritten digits arrive two classes at a time. After each pair every pair is tested: that is the
accuracy matrix, from which come average accuracy, forgetting and backward transfer.

    python examples/report.py [report.html]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.evaluation import AccuracyMatrix, Curve, Report, Run, columns, render, spell, summarise

PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
Rows = tuple[np.ndarray, np.ndarray]


def contexts() -> list[tuple[Rows, Rows]]:
    """For each pair of classes, rows to learn and rows to test on."""
    pixels, labels = load_digits(return_X_y=True)
    images, tested = (pixels / 16).astype(np.float32), np.arange(len(labels)) % 5 == 0
    return [
        ((images[of & ~tested], labels[of & ~tested]), (images[of & tested], labels[of & tested]))
        for of in (np.isin(labels, pair) for pair in PAIRS)
    ]


def accuracy(learner: Learner, rows: Rows) -> float:
    """The share of rows answered right."""
    return float(np.mean(np.array(learner.predict(rows[0]).labels) == rows[1]))


def run(method: str, seed: int) -> Run:
    """One method on one seed: its matrix and its loss along the way."""
    config = OnlineLearnerConfig(seed=seed, learning_rate=0.1, memory_size=200, replay_ratio=0.8)
    learner = Learner(config=config, method=method)
    matrix, losses, starts = [], [], []
    for (images, labels), _ in contexts():
        starts.append(learner.stats.examples)
        for start in range(0, len(labels), 10):
            trace = learner.learn_batch(Batch(images[start : start + 10], labels[start : start + 10]))
            losses.append((learner.stats.examples, trace.loss))
        matrix.append([accuracy(learner, test) for _, test in contexts()])
    x, y = zip(*losses, strict=True)
    curve = Curve(x=x, y=y, x_label="rows learned", y_label="loss, nats", boundaries=tuple(starts[1:]))
    return Run(method=method, seed=seed, matrix=AccuracyMatrix(values=matrix), curves={"Loss": curve})


def main() -> None:
    """Print the summary and write the page."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "report.html")
    report = Report(
        title="Digits, two classes at a time",
        runs=tuple(run(method, seed) for method in ("naive", "er", "der++") for seed in (0, 1)),
        context_names=tuple(f"{a} and {b}" for a, b in PAIRS),
        facts={"command": "python examples/report.py"},
    )
    shown = columns(report)
    print("method  " + "  ".join(f"{measure.title}, {measure.unit}" for measure in shown))
    for row in summarise(report):
        cells = (spell(row, measure)[0].rjust(len(measure.title) + 3) for measure in shown)
        print(f"{row['method']:6}  " + "  ".join(cells))
    path.write_text(render(report), encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
