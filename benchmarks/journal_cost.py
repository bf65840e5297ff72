"""What the journal costs: ER learning an IDX file through a Session, over the bare Learner on the same rows.

Both read MNIST's bytes in the source's dtype, in the same order: batch 10 + 10, memory 500, MLP
784-400-400-10. The journaled side is `Session.learn` with its defaults: it parses, validates, encodes,
hashes, appends durably, reads back, keeps provenance, digests and takes its snapshots.

    python -m benchmarks.journal_cost [--rows N] [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import struct
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from benchmarks.common import data, settle
from tenuto import Batch, Learner, OnlineLearnerConfig, Session, open_stream

CONFIG = OnlineLearnerConfig(learning_rate=0.05, head="fixed")
GOAL = 0.80


def model() -> nn.Module:
    """The reference network."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 10))


def head(folder: Path, rows: int) -> Path:
    """The first rows of MNIST as IDX files of their own; the path of the images."""
    for kind, size, start in (("images-idx3", 784, 16), ("labels-idx1", 1, 8)):
        whole = gzip.decompress((data("mnist") / f"train-{kind}-ubyte.gz").read_bytes())
        cut = bytearray(whole[: start + rows * size])
        cut[4:8] = struct.pack(">I", rows)
        (folder / f"train-{kind}-ubyte").write_bytes(cut)
    return folder / "train-images-idx3-ubyte"


def bare(path: Path) -> float:
    """CPU seconds of the learner alone."""
    chunk = next(open_stream(path).chunks(0, 1 << 20))
    inputs = torch.stack([torch.from_numpy(row.input.copy()) for row in chunk.rows])
    targets = torch.tensor([row.target for row in chunk.rows])
    learner = Learner(nn.Sequential(nn.Flatten(), *model()), CONFIG, method="er")
    start = time.process_time()
    for batch in zip(inputs.split(10), targets.split(10), strict=True):
        learner.learn_batch(Batch(*batch))
    return time.process_time() - start


def journaled(path: Path, home: Path) -> float:
    """CPU seconds of a new home that learns the file."""
    stream = open_stream(path)
    with Session(home, nn.Sequential(nn.Flatten(), *model()), CONFIG, method="er") as session:
        start = time.process_time()
        session.learn(stream)
        return time.process_time() - start


def main() -> None:
    """Print the rate of the journaled learner over the bare one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    settle()
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        path = head(Path(folder), args.rows)
        for i in range(args.rounds):
            pairs.append((bare(path), journaled(path, Path(folder) / f"home{i}")))
    ratios = sorted(alone / kept for alone, kept in pairs)
    found = {
        "rows": args.rows,
        "bare_us_per_row": statistics.median(alone for alone, _ in pairs) / args.rows * 1e6,
        "journaled_us_per_row": statistics.median(kept for _, kept in pairs) / args.rows * 1e6,
        "rate": statistics.median(ratios),
        "lowest": ratios[0],
        "highest": ratios[-1],
        "goal": GOAL,
    }
    if args.json:
        print(json.dumps(found))
        return
    print(f"ER on {args.rows:,} rows of an IDX file, CPU time, median of {args.rounds} interleaved rounds")
    print(f"  Learner alone      {found['bare_us_per_row']:8.1f} us per row")
    print(f"  Session, journaled {found['journaled_us_per_row']:8.1f} us per row")
    print(f"  rate {found['rate']:.3f} of the bare one, {ratios[0]:.3f} to {ratios[-1]:.3f}; goal {GOAL:.2f}")


if __name__ == "__main__":
    main()
