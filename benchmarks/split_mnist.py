"""Split-MNIST, class-incremental: five contexts of two digits each, one pass, 500 remembered rows.

The learner is never told which context a row is from; LwF alone is told where one ends. Batches are
of 10 rows joined by 10 from memory (twice 10, drawn independently, in DER++); the model is an MLP
784-400-400-10 with Xavier weights on pixels / 255. Average accuracy: the mean over contexts of the
accuracy on the whole test set of each, after the last context.

    python -m benchmarks.split_mnist                       defaults, 1,000 rows per context
    python -m benchmarks.split_mnist --tuned --rows all    tuned settings, 60,000 rows
    python -m benchmarks.split_mnist tune                  the grid the tuned settings come from

The grid learns from 50,000 of the training rows and is judged on the other 10,000, with seeds
100-104: no choice has seen a test row or a reported seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.common import settle
from benchmarks.contexts import SOURCES, Run, Setting, learn
from benchmarks.timing import table
from tenuto.evaluation import Interval, interval

TUNING_SEEDS = range(100, 105)
CACHE = Path("out/split_mnist.jsonl")

Scores = dict[str, tuple[float, int]]
"""Validation accuracy and refused rows by key of a run."""
Sizes = Sequence[int | None]
"""Rows per context; None: all."""

DEFAULTS = {
    "naive": Setting(method="naive"),
    "lwf": Setting(method="lwf", consolidates=True),
    "er": Setting(method="er"),
    "er-balanced": Setting(method="er", config={"insertion": "class_balanced"}),
    "der": Setting(method="der"),
    "derpp": Setting(method="derpp"),
    "iid": Setting(method="naive", iid=True),
    "joint": Setting(method="joint", options={"epochs": 5}, iid=True, consolidates=True),
}
"""The library's defaults at the protocol's rate; iid and joint learn the same rows, contexts mixed, iid once
and joint for five passes more over all of them: what there is to reach."""
TUNED = {
    "er-tuned": Setting(
        method="er", options={"share": 0.8}, config={"insertion": "reservoir", "learning_rate": 0.2}
    ),
    "derpp-tuned": Setting(
        method="derpp",
        options={"alpha": 1.0, "beta": 2.0},
        config={"insertion": "ring", "learning_rate": 0.05},
    ),
}
"""Of each method the setting with the best mean over both sizes, among those run at both: by `tune`, then by
`tune --rows all`, which was stopped after 39 of ER's 153 settings and 16 of DER++'s 225."""


def compare(arguments: argparse.Namespace) -> None:
    """Run the methods over the seeds and print them side by side."""
    settings = {**DEFAULTS, **TUNED}
    names = arguments.methods or (settings if arguments.tuned else DEFAULTS)
    settings = {name: settings[name] for name in names}
    rows, runs = SOURCES[arguments.data](), []
    for (name, setting), seed in product(settings.items(), arguments.seeds):
        run = learn(rows, setting, seed, count=arguments.rows, head=arguments.head)
        runs.append({"method": name, "seed": seed, "setting": asdict(setting), "run": run})
        _progress(f"{name}, seed {seed}: {run.average:.3f} in {run.seconds:.1f} s")
    _progress("")
    title = f"{arguments.data}, {_size(arguments.rows)}, {arguments.head} head, {_seeds(arguments.seeds)}"
    print(title)
    heads = ["method", "average accuracy", "lowest", "forgetting", "overall", "refused", "s", "setting"]
    print(
        table(heads, [_line(n, s, [r["run"] for r in runs if r["method"] == n]) for n, s in settings.items()])
    )
    if arguments.json:
        plain = [{**run, "run": asdict(run["run"])} for run in runs]
        arguments.json.write_text(json.dumps({"title": title, "runs": plain}, indent=1))


def _line(name: str, setting: Setting, runs: Sequence[Run]) -> list[str]:
    averages = [run.average for run in runs]
    forgetting = [run.forgetting for run in runs if run.forgetting is not None]
    return [
        name,
        _spell(interval(averages)),
        f"{min(averages):.3f}",
        _spell(interval(forgetting)) if forgetting else "",
        _spell(interval([run.overall for run in runs])),
        str(sum(run.refused for run in runs)),
        f"{sum(run.seconds for run in runs) / len(runs):.1f}",
        str(setting),
    ]


def _spell(found: Interval) -> str:
    return f"{found.mean:.3f}" + ("" if found.half_width is None else f" ± {found.half_width:.3f}")


def _size(rows: int | None) -> str:
    return f"{'all' if rows is None else f'{rows:,}'} rows per context"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seeds {', '.join(map(str, seeds))}, mean ± 95 % interval"


def _progress(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()


# Tuning --------------------------------------------------------------------------------------------


def grid() -> Iterator[Setting]:
    """Every setting tried: policies, then DER++'s weights, then higher rates, momentum and weight decay."""
    insertions, samplings = ("reservoir", "class_balanced", "ring"), ("uniform", "balanced", "prioritized")
    rates = (0.01, 0.02, 0.03, 0.05, 0.1)
    for insertion, sampling, rate in product(insertions, samplings, rates):
        config = {"insertion": insertion, "sampling": sampling, "learning_rate": rate}
        yield Setting(method="er", config=config)
        yield Setting(method="derpp", config=config)
    for insertion, sampling, rate in product(insertions, samplings[:2], (0.15, 0.2, 0.3)):
        yield Setting(
            method="er", config={"insertion": insertion, "sampling": sampling, "learning_rate": rate}
        )
    for insertion, momentum, decay, rate in product(
        insertions[::2], (0.5, 0.9), (0.0, 1e-3), (0.01, 0.03, 0.05, 0.1)
    ):
        config = {"insertion": insertion, "learning_rate": rate, "momentum": momentum, "weight_decay": decay}
        yield Setting(method="er", config=config)
    for share, insertion, rate in product((0.6, 0.7, 0.8, 0.9), insertions[::2], (0.05, 0.1, 0.15, 0.2, 0.3)):
        config = {"insertion": insertion, "learning_rate": rate}
        yield Setting(method="er", options={"share": share}, config=config)
    for alpha, beta, insertion, rate in product(
        (0.3, 1.0, 3.0), (0.5, 1.0, 2.0, 4.0), insertions, (0.05, 0.1, 0.2)
    ):
        config = {"insertion": insertion, "learning_rate": rate}
        yield Setting(method="derpp", options={"alpha": alpha, "beta": beta}, config=config)
    for insertion, rate, decay in product(insertions[::2], (0.05, 0.1, 0.2), (1e-3, 3e-3, 1e-2)):
        config = {"insertion": insertion, "learning_rate": rate, "weight_decay": decay}
        yield Setting(method="er", config=config)
    for beta, insertion, rate, decay, momentum in product(
        (1.0, 2.0, 4.0), insertions[::2], (0.02, 0.03, 0.05), (0.0, 1e-3), (0.0, 0.5)
    ):
        config = {"insertion": insertion, "learning_rate": rate, "weight_decay": decay, "momentum": momentum}
        yield Setting(method="derpp", options={"alpha": 1.0, "beta": beta}, config=config)


def tune(arguments: argparse.Namespace) -> None:
    """Run what is not yet cached of the grid; print all that has been run of it, best first.

    A setting is chosen by its mean over both sizes, which are shown together once all rows were run.
    """
    scores, rows, head = _cached(), SOURCES["mnist"]().validation(), arguments.head
    for method in arguments.methods or ("er", "derpp"):
        settings = list({str(s): s for s in grid() if s.method == method}.values())
        wanted = [setting for setting in settings if arguments.match in str(setting)]
        if arguments.best:
            wanted = _ranked(wanted, scores, (1000,), head)[: arguments.best]
        for number, (setting, seed) in enumerate(product(wanted, TUNING_SEEDS)):
            key = _key(setting, seed, arguments.rows, head)
            if key not in scores:
                run = learn(rows, setting, seed, count=arguments.rows, head=head, every=False)
                scores[key] = run.average, run.refused
                _keep({"key": key, "average": run.average, "refused": run.refused})
            _progress(f"{method} {number + 1} / {len(wanted) * len(TUNING_SEEDS)}: {setting}")
        _progress("")
        print(f"{method}, {head} head, validation accuracy, {_seeds(TUNING_SEEDS)}")
        for sizes in [(arguments.rows,)] if arguments.rows else [(None,), (1000, None)]:
            print(_tried(settings, scores, sizes, head))


def _tried(settings: Sequence[Setting], scores: Scores, sizes: Sizes, head: str) -> str:
    lines = []
    for setting in _ranked(settings, scores, sizes, head):
        found = [[scores[_key(setting, seed, size, head)] for seed in TUNING_SEEDS] for size in sizes]
        refused = sum(refused for size in found for _, refused in size)
        spelled = [_spell(interval([average for average, _ in size])) for size in found]
        lines.append([str(setting), *spelled, str(refused)])
    return table(["setting", *map(_size, sizes), "refused"], lines)


def _ranked(settings: Sequence[Setting], scores: Scores, sizes: Sizes, head: str) -> list[Setting]:
    """Those of the settings that have been run at these sizes with every seed, by mean score, best first."""
    keys = {str(s): [_key(s, seed, size, head) for size in sizes for seed in TUNING_SEEDS] for s in settings}
    run = [s for s in settings if all(key in scores for key in keys[str(s)])]
    return sorted(run, key=lambda setting: -sum(scores[key][0] for key in keys[str(setting)]))


def _key(setting: Setting, seed: int, rows: int | None, head: str) -> str:
    parts = [setting.method, dict(setting.options), dict(setting.config), seed, rows, head]
    return json.dumps(parts, sort_keys=True)


def _cached() -> Scores:
    if not CACHE.exists():
        return {}
    lines = map(json.loads, CACHE.read_text().splitlines())
    return {line["key"]: (line["average"], line["refused"]) for line in lines}


def _keep(line: Mapping[str, Any]) -> None:
    CACHE.parent.mkdir(exist_ok=True)
    with CACHE.open("a") as file:
        file.write(json.dumps(line) + "\n")


# The command line ----------------------------------------------------------------------------------


def _numbers(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _count(text: str) -> int | None:
    return None if text == "all" else int(text)


def main() -> None:
    """Compare methods, or tune them."""
    parser = argparse.ArgumentParser(prog="split_mnist", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", nargs="?", choices=("compare", "tune"), default="compare")
    parser.add_argument("--rows", type=_count, default=1000, help="rows per context, or all")
    parser.add_argument("--methods", type=lambda text: text.split(","), help="names, joined by commas")
    parser.add_argument("--seeds", type=_numbers, default=_numbers("0-4"), help="as 0-4")
    parser.add_argument("--head", choices=("fixed", "grow"), default="fixed")
    parser.add_argument("--tuned", action="store_true", help="the tuned settings too")
    parser.add_argument("--data", choices=tuple(SOURCES), default="mnist")
    parser.add_argument("--best", type=int, help="tune: run only the best so many at 1,000 rows per context")
    parser.add_argument("--match", default="", help="tune: run only settings that contain this text")
    parser.add_argument("--json", type=Path, help="write every run to this file")
    arguments = parser.parse_args()
    settle()
    (tune if arguments.verb == "tune" else compare)(arguments)


if __name__ == "__main__":
    main()
