"""Every figure of the README, printed by one command: `python -m benchmarks` (`make bench`)."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.common import data
from tenuto.errors import ConfigError

ALWAYS = ("step_cost", "fisher_cost", "method_cost", "memory_flat", "priorities", "status", "drift")
ON_MNIST = ("journal_cost", "split_mnist", "pmnist_cost", "transfer", "streams")


def main() -> int:
    """Run each benchmark in a process of its own; 1 where one failed."""
    names = [*ALWAYS]
    try:
        data("mnist")
        names += ON_MNIST
    except ConfigError as error:
        print(f"left out, for want of data: {', '.join(ON_MNIST)}: {error}\n")
    failed = []
    for name in names:
        print(f"== {name} ".ljust(88, "="), flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        if subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode:
            failed.append(name)
        print(flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
