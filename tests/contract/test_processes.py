"""The same seed gives the same bytes in another process, whatever its hash seed and its threads' history."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tenuto import methods
from tests.contract.walks import OPTIMIZERS, WALK, go, maker, normed


def digests() -> list[str]:
    """The digest at the end of the walk: every method, every optimizer, every memory policy once."""
    makers = [maker(method, head="fixed", model=normed) for method in methods.known(plain=True)]
    makers += [maker("derpp", optimizer=optimizer) for optimizer in OPTIMIZERS]
    makers += [maker("er", insertion=policy) for policy in ("ring", "class_balanced", "fifo")]
    makers += [maker("er", sampling=policy) for policy in ("balanced", "prioritized")]
    found = []
    for make in makers:
        learner = make(5)
        go(learner, WALK)
        found.append(learner.digest())
    return found


def test_another_process_comes_to_the_same_bytes() -> None:
    root = Path(__file__).parents[2]
    code = "from tests.contract.test_processes import digests; print(*digests())"
    env = {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "4242"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == digests()
