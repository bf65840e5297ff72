"""OGP-LoRA-Stream measured: what is protected, what gets through, what others let through, what it costs.

    python -m benchmarks.ogp [--what retention correction] [--seeds 0 1 2]

On the 260,032-parameter Llama of the shared data, float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import torch

from benchmarks.common import settle
from benchmarks.ogp import correction, retention

WHAT: dict[str, Callable[[Sequence[int]], None]] = {
    "retention": retention.show,
    "correction": correction.show,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--what", nargs="+", choices=list(WHAT), default=list(WHAT))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    settle()
    torch.set_num_threads(1)
    for what in arguments.what:
        WHAT[what](arguments.seeds)


if __name__ == "__main__":
    main()
