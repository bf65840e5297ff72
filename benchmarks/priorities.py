"""Prioritized memory against cpprb, a C++ one: 100,000 rows of 784 float32, operations per second of CPU.

An addition is of 10 rows, a sample of 64 rows with their payload and importance weights, an update of 64
priorities from losses. Ours is the whole ReplayBuffer with insertion `fifo` and sampling `prioritized`.
Both run in one process, in short rounds whose order alternates. Without cpprb (`pip install cpprb`, MIT)
ours runs alone.

    python -m benchmarks.priorities [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.common import settle
from benchmarks.timing import Times, interleave, table
from tenuto.memory import ReplayBuffer

ROWS, FEATURES, ADDED, DRAWN = 100_000, 784, 10, 64
PAYLOAD = FEATURES * 4 + 8
BARS = {"add": 1.0, "sample": 0.7, "update": 1.0}
BYTES = PAYLOAD + 64

Operations = dict[str, Callable[[], object]]


def stream() -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
    """Pixels in batches to add, and losses to tell of 64 rows: the same for both."""
    rng = np.random.default_rng(0)
    inputs = [rng.random((ADDED, FEATURES), dtype=np.float32) for _ in range(64)]
    return inputs, [rng.exponential(size=DRAWN).astype(np.float32) for _ in range(64)]


def ours() -> tuple[Operations, ReplayBuffer]:
    """Our buffer, full, its priorities spread."""
    inputs, losses = stream()
    rows = [{"inputs": torch.from_numpy(x), "targets": torch.arange(ADDED)} for x in inputs]
    told = [torch.from_numpy(loss) for loss in losses]
    buffer = ReplayBuffer(capacity=ROWS, insertion="fifo", sampling="prioritized")
    turn = {"add": 0, "sample": 0, "update": 0}
    drawn = [torch.zeros(DRAWN, dtype=torch.int64)]

    def add() -> None:
        turn["add"] += 1
        row = rows[turn["add"] % 64]
        buffer.add(row["targets"], row)

    def sample() -> None:
        turn["sample"] += 1
        recalled = buffer.sample(DRAWN, turn["sample"], "replay")
        drawn[0] = recalled.slots if recalled else drawn[0]

    def update() -> None:
        turn["update"] += 1
        buffer.seen_again(drawn[0], told[turn["update"] % 64])

    for _ in range(ROWS // ADDED):
        add()
    slots = torch.arange(ROWS)
    buffer.seen_again(slots, torch.from_numpy(np.random.default_rng(1).exponential(size=ROWS)))
    return {"add": add, "sample": sample, "update": update}, buffer


def theirs(cpprb: Any) -> Operations:
    """cpprb's buffer in the same state."""
    inputs, losses = stream()
    targets = np.arange(ADDED)
    columns = {"inputs": {"shape": FEATURES, "dtype": np.float32}, "targets": {"dtype": np.int64}}
    buffer = cpprb.PrioritizedReplayBuffer(ROWS, columns, alpha=0.6, eps=1e-3)
    turn = {"add": 0, "update": 0}
    drawn = [np.zeros(DRAWN, dtype=np.int64)]

    def add() -> None:
        turn["add"] += 1
        buffer.add(inputs=inputs[turn["add"] % 64], targets=targets)

    def sample() -> None:
        drawn[0] = buffer.sample(DRAWN, beta=0.4)["indexes"]

    def update() -> None:
        turn["update"] += 1
        buffer.update_priorities(drawn[0], losses[turn["update"] % 64])

    for _ in range(ROWS // ADDED):
        add()
    buffer.update_priorities(np.arange(ROWS), np.random.default_rng(1).exponential(size=ROWS))
    return {"add": add, "sample": sample, "update": update}


def cycle(operations: Operations) -> Callable[[], None]:
    """One of each: what an update to a learner takes."""

    def turn() -> None:
        for operation in operations.values():
            operation()

    return turn


def row_bytes(buffer: ReplayBuffer) -> float:
    """All arrays a full buffer holds, per row."""
    tensors = [*buffer.table.columns.values(), *buffer._groups.columns.values()]
    arrays = [
        value for value in vars(vars(buffer.sampling)["_sums"]).values() if isinstance(value, np.ndarray)
    ]
    owned = [array for array in arrays if array.base is None]
    return (sum(t.nbytes for t in tensors) + sum(a.nbytes for a in owned)) / ROWS


def peer() -> Any | None:
    """cpprb, where it is installed."""
    try:
        return importlib.import_module("cpprb")
    except ModuleNotFoundError:
        return None


def main() -> None:
    """Print operations per second, ours over theirs, and bytes per row."""
    parser = argparse.ArgumentParser(prog="priorities", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    settle()
    cpprb = peer()
    operations, buffer = ours()
    held = row_bytes(buffer)
    sides = {"ours": operations} | ({"cpprb": theirs(cpprb)} if cpprb else {})
    ratios: dict[str, tuple[float, float, float]] = {}
    rates: dict[str, dict[str, float]] = {}
    for name in [*BARS, "all three"]:
        cases = {side: found.get(name) or cycle(found) for side, found in sides.items()}
        times: dict[str, Times] = interleave(cases, rounds=arguments.rounds, steps=200)
        rates[name] = {side: 1e6 / found.median for side, found in times.items()}
        if cpprb:
            ratios[name] = times["cpprb"].over(times["ours"])
    if arguments.json:
        print(json.dumps({"rates": rates, "ratios": ratios, "bytes": held, "payload": PAYLOAD}))
        return
    lines = []
    for name, found in rates.items():
        line = [name, *(f"{rate:,.0f}" for rate in found.values())]
        if cpprb:
            middle, low, high = ratios[name]
            bar = f"{BARS[name]:.1f}" if name in BARS else "-"
            line += [f"{middle:.2f} ({low:.2f}-{high:.2f})", bar]
        lines.append(line)
    head = ["operation", *(f"{side}, per s" for side in sides)] + (["ours / cpprb", "bar"] if cpprb else [])
    print(f"{ROWS:,} rows of {FEATURES} float32; add {ADDED}, sample {DRAWN}, update {DRAWN}; one thread")
    print(table(head, lines))
    print(f"bytes per row {held:.1f}, of which payload {PAYLOAD}; bar {BYTES}")
    if not cpprb:
        print("cpprb is not installed here, so ours ran alone: pip install cpprb")


if __name__ == "__main__":
    main()
