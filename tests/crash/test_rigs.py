"""The rigs in small: every promise is kept, and each rig finds a bug that was put in on purpose.

`make crash` runs them with their large counts.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.plants import PLANTS
from tests.data import folder

ROOT = Path(__file__).parents[2]


def crash(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The rigs in a process of their own: they fork, and want no threads beside them."""
    command = [sys.executable, "-m", "tests.crash", "--workers", "1", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("rig", "count"),
    [("kills", 520), ("cuts", 5000), ("forgets", 50), ("refusals", 120), ("flips", 200), ("lives", 6)],
)
def test_every_promise_is_kept(rig: str, count: int) -> None:
    _kept(rig, count)


def test_what_a_language_model_learned_is_kept() -> None:
    folder("stories260K")
    _kept("spoken", 5)


def _kept(rig: str, count: int) -> None:
    done = crash(f"--{rig}", str(count))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every promise kept" in done.stdout
    told = re.search(rf"([\d,]+) {rig}", done.stdout)
    assert told is not None
    assert int(told[1].replace(",", "")) >= 0.9 * count


@pytest.mark.parametrize("plant", sorted(PLANTS))
def test_a_planted_bug_is_found(plant: str) -> None:
    done = crash("--plant", plant)
    assert done.returncode == 0, f"the rig did not find it:\n{done.stdout}{done.stderr}"
    assert "every promise kept" not in done.stdout
