"""Accuracy, forgetting and CPU time per row of our methods beside Avalanche's and CapyMOA's, in one run.

    python -m benchmarks.peers --python .peers/bin/python      or: make peers

Split-MNIST, class-incremental: five contexts of two digits in one pass, batches of 10 joined by 10
remembered rows, memory of 500, MLP 784-400-400-10, SGD at 0.05. Every framework has a process of its own,
with one thread and the same allocator settings, and only one of them works at a time: method by method
within each seed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.contexts import mnist
from benchmarks.peers.stream import CONTEXTS, Net, Stream
from benchmarks.split_mnist import _count as count
from benchmarks.split_mnist import _numbers as numbers
from benchmarks.timing import table
from tenuto.evaluation import AccuracyMatrix, interval
from tenuto.models import MLP
from tenuto.randomness import torch_draws

OURS = "tenuto"
PEERS = ("avalanche-lib", "avalanche-lib, online", "capymoa")
Answer = dict[str, Any]


class Worker:
    """A framework's process.

    Args:
        framework: one of the worker's.
        python: the interpreter that has it.
        log: where what it says goes.
    """

    def __init__(self, framework: str, python: str, log: Path) -> None:
        self.framework, self._python, self._log = framework, python, log
        hello = self._start() or {"version": f"(does not start: {self._last_words()})", "methods": []}
        self.version, self.methods = hello["version"], hello["methods"]

    def _start(self) -> Answer | None:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [self._python, "-W", "ignore", "-m", "benchmarks.peers.worker", self.framework],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            )
        return self._read()

    def ask(self, method: str, stream: Path) -> Answer:
        """What a method made of a stream; where it raised, what it said last, and a process anew."""
        if self._process.stdin is None:
            raise RuntimeError(f"{self.framework} takes no requests")
        print(json.dumps({"method": method, "stream": str(stream)}), file=self._process.stdin, flush=True)
        found = self._read()
        if found is None:
            found = {"failed": self._last_words()}
            self._start()
        return found

    def _read(self) -> Answer | None:
        line = self._process.stdout.readline() if self._process.stdout else ""
        return json.loads(line) if line else None

    def _last_words(self) -> str:
        self.close()
        return self._log.read_text().strip().rpartition("\n")[2]

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()


def streams(seeds: Sequence[int], rows: int | None) -> Iterator[Stream]:
    """The rows and the initial weights of each seed."""
    found = mnist()
    inputs, tests = _pixels(found.inputs), _pixels(found.test_inputs)
    digits = [(found.test_labels // 2 == k).nonzero()[:, 0] for k in range(CONTEXTS)]
    for seed in seeds:
        net = Net(inputs.shape[1])
        with torch_draws(seed, "model", 0):
            drawn = MLP(inputs.shape[1], (400, 400), 10)
        for to, of in zip(net.parameters(), drawn.parameters(), strict=True):
            to.data.copy_(of.data)
        yield Stream(
            seed,
            [(inputs[order], found.labels[order]) for order in found.contexts(seed, rows)],
            [(tests[which], found.test_labels[which]) for which in digits],
            {name: tensor.detach() for name, tensor in net.state_dict().items()},
        )


def _pixels(inputs: torch.Tensor) -> torch.Tensor:
    return inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs.float()


def measure(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, str], list[Answer]]:
    """Every run, and the version of each framework."""
    runs: list[Answer] = []
    pythons = [(OURS, sys.executable), *((name, arguments.python) for name in arguments.peers or PEERS)]
    workers = [Worker(name, python, folder / f"{name}.log") for name, python in pythons]
    ours, peers = workers[0], workers[1:]
    shared = [name for name in ours.methods if any(name in peer.methods for peer in peers)]
    for stream in streams(arguments.seeds, arguments.rows):
        path = folder / f"{stream.seed}.npz"
        stream.save(path)
        for method in arguments.methods or shared:
            for worker in (worker for worker in workers if method in worker.methods):
                found = worker.ask(method, path)
                runs.append({"method": method, "framework": worker.framework, "seed": stream.seed, **found})
                told = ", ".join(_told(runs[-1:]))
                sys.stderr.write(f"seed {stream.seed}, {method}, {worker.framework}: {told}\n")
        path.unlink()
    for worker in workers:
        worker.close()
    return {worker.framework: worker.version for worker in workers}, runs


def average(run: Answer) -> float:
    """Accuracy at the end, the mean over contexts."""
    return sum(run["matrix"][-1]) / CONTEXTS


def _told(runs: Sequence[Answer]) -> list[str]:
    failed = [run["failed"] for run in runs if "failed" in run]
    if failed:
        return [f"failed: {failed[0]}", "", ""]
    accuracy = interval([average(run) for run in runs])
    forgetting = [AccuracyMatrix(values=run["matrix"]).forgetting or 0.0 for run in runs]
    spread = "" if accuracy.half_width is None else f" ± {accuracy.half_width:.3f}"
    diverged = sum(not run["finite"] for run in runs)
    return [
        f"{accuracy.mean:.3f}{spread}" + (f" ({diverged} diverged)" if diverged else ""),
        f"{sum(forgetting) / len(forgetting):.3f}",
        f"{cost(runs):.0f}",
    ]


def cost(runs: Sequence[Answer]) -> float:
    """CPU microseconds per row, the mean over seeds."""
    return sum(run["us_per_row"] for run in runs) / len(runs)


def lines(runs: Sequence[Answer]) -> Iterator[list[str]]:
    """A line per method and framework, with its cost over ours."""
    for method in dict.fromkeys(run["method"] for run in runs):
        found: dict[str, list[Answer]] = {}
        for run in (run for run in runs if run["method"] == method):
            found.setdefault(run["framework"], []).append(run)
        for framework, of in found.items():
            judged = not any("failed" in run for run in (*of, *found[OURS]))
            over = f"{cost(of) / cost(found[OURS]):.2f}" if judged else ""
            yield [method if framework == OURS else "", framework, *_told(of), over]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default=".peers/bin/python", help="the interpreter that has the peers")
    parser.add_argument("--peers", action="append", choices=PEERS, help="these alone; may be repeated")
    parser.add_argument("--methods", type=lambda text: text.split(","), help="names, joined by commas")
    parser.add_argument("--seeds", type=numbers, default=numbers("0-2"), help="as 0-2")
    parser.add_argument("--rows", type=count, default=1000, help="rows per context, or all")
    parser.add_argument("--json", type=Path, help="write every run to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        versions, runs = measure(arguments, Path(folder))
    rows = f"{arguments.rows:,}" if arguments.rows else "all"
    title = f"split-MNIST, {rows} rows per context, seeds {', '.join(map(str, arguments.seeds))}, torch "
    title += f"{torch.__version__}; " + ", ".join(f"{name} {v}" for name, v in versions.items())
    print(title)
    heads = ["method", "framework", "average accuracy", "forgetting", "CPU us per row", "over ours"]
    print(table(heads, list(lines(runs))))
    if arguments.json:
        arguments.json.write_text(json.dumps({"title": title, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
