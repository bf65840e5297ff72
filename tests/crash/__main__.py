"""`python -m tests.crash`: every rig with its large counts, or those named, and their figures.

python -m tests.crash                       all of them, minutes on two cores
python -m tests.crash --kills 500 --json    one rig, its figures as JSON
python -m tests.crash --plant synchronous-normal  a rig against a bug put in on purpose: it must find it
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import time
from typing import Any

COUNTS = {
    "kills": 10_000,
    "cuts": 100_000,
    "forgets": 200,
    "refusals": 2_000,
    "flips": 5_000,
    "lives": 500,
    "spoken": 1000,
}
HELP = {
    "kills": "processes ended at an operation on their files",
    "cuts": "power cuts",
    "forgets": "random lives with something forgotten in them",
    "refusals": "operations that the disk refuses",
    "flips": "bits turned over in files",
    "lives": "lives ended by kill -9 from outside at random moments",
    "spoken": "processes that teach a language model, ended at an operation on their files",
}


def main(arguments: list[str]) -> int:
    """Run the rigs asked for; 0 where every promise was kept (or a planted bug found)."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    import torch

    from tests.crash import plants, rigs

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    options = _parser([*plants.PLANTS]).parse_args(arguments)
    asked = {name: getattr(options, name) for name in COUNTS if getattr(options, name) is not None}
    if options.plant:
        with plants.planted(options.plant) as rig:
            asked = {rig: asked.get(rig, plants.PLANTS[options.plant].count)}
            figures = _run(rigs.RIGS, asked, options)
    else:
        figures = _run(rigs.RIGS, asked or COUNTS, options)
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    found = any(figure["faults"] for figure in figures.values())
    return int(found != bool(options.plant))


def _run(rigs: Any, asked: dict[str, int], options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, count in asked.items():
        start = time.perf_counter()
        figures[name] = rigs[name](count, workers=options.workers, seed=options.seed)
        figures[name]["seconds"] = round(time.perf_counter() - start, 1)
        if not options.json:
            sys.stdout.write(_line(name, figures[name]))
            sys.stdout.flush()
    return figures


def _line(name: str, figures: dict[str, Any]) -> str:
    counts = ", ".join(f"{value:,} {what}" for what, value in figures.items() if isinstance(value, int))
    verdict = ", ".join(f"{n} {kind}" for kind, n in figures["faults"].items()) or "every promise kept"
    found = "".join(f"    {text}\n" for text in figures["found"])
    return f"{name:9s} {counts}: {verdict}  ({figures['seconds']} s)\n{found}"


def _parser(plants: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__.split("\n")[0])
    for name, text in HELP.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=text)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--plant", choices=plants, help="put this bug in: the rig must find it")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
