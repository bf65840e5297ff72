"""The command on real files: as its users run it, a process of its own, and, as that takes seconds to begin,
in this process where only words and files are looked at."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

TENUTO = [sys.executable, "-m", "tenuto"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::DeprecationWarning:tenuto"}


def tenuto(*arguments: object, stdin: str = "", **how: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*TENUTO, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env=ENVIRONMENT,
        check=False,
        **how,
    )


def within(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in this process, which has loaded what a language model takes."""
    from tenuto.cli.shared.program import run

    words, out, err = list(map(str, arguments)), io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run(words)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document on stdout."""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def example(number: int) -> dict[str, Any]:
    """A row whose label can be learned from its input."""
    draw = random.Random(number)
    input = [round(draw.gauss(0, 1), 4) for _ in range(4)]
    return {"input": input, "target": int(input[0] > 0) + 2 * int(input[1] > 0), "id": f"r{number}"}


def write(path: Path, rows: Sequence[dict[str, Any] | str]) -> Path:
    """Rows as JSON lines; text stands as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that has learned 300 rows and set two apart."""
    folder = tmp_path_factory.mktemp("learned")
    rows = [*map(example, range(300)), '{"input": [1, 2', {"input": [1.0], "target": 0, "id": "short"}]
    path = write(folder / "train.jsonl", rows)
    home = folder / "home"
    done = tenuto(
        "learn", path, "--home", home, "--method", "derpp", "--memory-size", 40, "--learning-rate", 0.05
    )
    assert done.returncode == 0, done.stderr
    return home


def killed(child: subprocess.Popen[Any], seen: Callable[[], bool]) -> None:
    """End a process by SIGKILL as soon as something was seen; it must still be running then."""
    until = time.monotonic() + 60
    while not seen():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < until
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
