"""OGP-LoRA-Stream measured: what is protected, what gets through, what others let through, what it costs.

    python -m benchmarks.ogp [--what retention correction ...] [--seeds 0 1 2] [--out out/ogp]

On the 260,032-parameter Llama of the shared data, and on SmolLM2-135M. Each long run is written when it is
done, and an interrupted command goes on from there; what can be drawn is drawn beside.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.common import settle
from benchmarks.ogp import correction, cost, mixed, retention, streaming, text

WHAT: dict[str, Callable[[Sequence[int], Path], None]] = {
    "retention": retention.show,
    "correction": correction.show,
    "text": text.show,
    "closer": text.closer,
    "streaming": streaming.show,
    "cost": cost.show,
    "mixed": mixed.show,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--what", nargs="+", choices=list(WHAT), default=list(WHAT))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("out/ogp"), help="folder of runs and pictures")
    arguments = parser.parse_args()
    settle()
    torch.set_num_threads(1)
    for what in arguments.what:
        WHAT[what](arguments.seeds, arguments.out)


if __name__ == "__main__":
    main()
