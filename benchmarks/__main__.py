"""Every figure of the README, printed by one command: `python -m benchmarks` (`make bench`)."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.common import data
from tenuto.errors import ConfigError

ALWAYS = (
    "step_cost",
    "fisher_cost",
    "method_cost",
    "memory_flat",
    "everything_on",
    "priorities",
    "status",
    "drift",
)
ON_MNIST = ("journal_cost", "split_mnist", "pmnist_cost", "transfer")
STUDY = ("-m", "tenuto", "bench", "streams", "--data")


def main() -> int:
    """Run each benchmark in a process of its own; 1 where one failed."""
    commands = {name: ["-m", f"benchmarks.{name}"] for name in ALWAYS}
    try:
        folder = data("mnist").parent
        commands |= {name: ["-m", f"benchmarks.{name}"] for name in ON_MNIST}
        commands["streams"] = [*STUDY, str(folder)]
    except ConfigError as error:
        print(f"left out, for want of data: {', '.join(ON_MNIST)}, streams: {error}\n")
    failed = []
    for name, command in commands.items():
        print(f"== {name} ".ljust(88, "="), flush=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if subprocess.run([sys.executable, *command], env=environment, check=False).returncode:
            failed.append(name)
        print(flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
