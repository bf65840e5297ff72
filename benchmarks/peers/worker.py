"""One framework's process: reads requests, one a line, and answers each with a line of JSON.

    python -m benchmarks.peers.worker FRAMEWORK

A request is {"method": name, "stream": path}; an empty one, or the end of the input, ends it. The first line
it writes names its version and methods. What a framework prints goes to the standard error.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.peers.stream import Stream, run
from tenuto.studies.process import settle

SHIM = Path(__file__).parent / "shim"
SIDES = {
    "tenuto": "ours",
    "avalanche-lib": "avalanche",
    "avalanche-lib, online": "avalanche_online",
    "capymoa": "capymoa",
}


def main() -> None:
    """Answer until there is nothing more to answer."""
    framework = sys.argv[1]
    sys.path.append(str(SHIM))
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        methods = importlib.import_module(f"benchmarks.peers.{SIDES[framework]}").METHODS
        settle()
        print(
            json.dumps({"version": _version(framework), "methods": list(methods)}), file=answers, flush=True
        )
        for line in sys.stdin:
            request = json.loads(line)
            found = run(methods[request["method"]], Stream.load(Path(request["stream"])))
            print(json.dumps(found), file=answers, flush=True)
            gc.collect()


def _version(framework: str) -> str:
    try:
        return version(framework.partition(",")[0])
    except PackageNotFoundError:
        return "(a checkout)"


if __name__ == "__main__":
    main()
