"""A million rows through a memory of 500: the process must not grow, and a step must not slow down.

Rows of 32 numbers around ten drifting centres, an MLP 32-64-10, experience replay, batches of 10.
Resident memory is read after the first window of 50,000 rows and after the last; a window's step time
is the median of its chunks.

    python -m benchmarks.memory_flat [--rows N] [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchmarks.common import settle
from benchmarks.timing import table
from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.models import MLP

FEATURES, CLASSES, MEMORY, BATCH = 32, 10, 500, 10
WINDOW, CHUNK = 50_000, 2_000
GROWTH = 0.02


@dataclass(frozen=True, slots=True)
class Window:
    """What one window of rows cost.

    Args:
        rows: learned so far, at its end.
        resident: memory of the process then, in bytes.
        step: median CPU time of a step, in microseconds.
    """

    rows: int
    resident: int
    step: float


def walk(rows: int) -> list[Window]:
    """Learn `rows` rows; one window per 50,000."""
    torch.manual_seed(0)
    config = OnlineLearnerConfig(learning_rate=0.05, memory_size=MEMORY, head="fixed")
    learner = Learner(MLP(FEATURES, (64,), CLASSES), config, method="er")
    windows = []
    for end in range(WINDOW, rows + 1, WINDOW):
        times = []
        for start in range(end - WINDOW, end, CHUNK):
            inputs, targets = chunk(start)
            before = time.process_time()
            for i in range(0, CHUNK, BATCH):
                learner.learn_batch(Batch(inputs[i : i + BATCH], targets[i : i + BATCH]))
            times.append((time.process_time() - before) / (CHUNK / BATCH) * 1e6)
        gc.collect()
        windows.append(Window(end, resident(), statistics.median(times)))
    return windows


def chunk(start: int) -> tuple[Tensor, Tensor]:
    """Rows `start` to `start + CHUNK` of the stream: centres that move slowly, and their classes."""
    draws = torch.Generator().manual_seed(start)
    targets = torch.randint(0, CLASSES, (CHUNK,), generator=draws)
    phases = torch.outer(torch.arange(CLASSES) + 1.0, torch.arange(FEATURES) + 1.0) + start / 100_000
    return phases.sin()[targets] + 0.3 * torch.randn(CHUNK, FEATURES, generator=draws), targets


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.rows < 2 * WINDOW:
        parser.error(f"--rows must be at least {2 * WINDOW}: the first window is compared with the last")
    settle()
    windows = walk(arguments.rows)
    first, last = windows[0], windows[-1]
    growth, pace = last.resident / first.resident - 1, last.step / first.step
    if arguments.json:
        print(json.dumps({"growth": growth, "pace": pace, "windows": [asdict(w) for w in windows]}, indent=2))
        return
    rows = [[f"{w.rows:,}", f"{w.resident / 2**20:.1f}", f"{w.step:.0f}"] for w in windows]
    print(table(["rows", "resident, MiB", "step, us"], rows))
    print(f"Resident memory from the first window to the last: {growth:+.2%} (target: below {GROWTH:.0%}).")
    print(f"Step time, last window over first: {pace:.3f}.")


if __name__ == "__main__":
    main()
