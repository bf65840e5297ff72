"""What was measured: one line of JSON per run, appended when the run has ended and never changed.

A line is {"key": ..., "job": ..., "outcome": ...}. The last line of a key counts. A line without its end was
cut by a crash: it is not read, and the next one takes its place.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tenuto.errors import StoreError
from tenuto.studies.papers.protocols import Job

Found = dict[str, Any]


class Results:
    """The results in a file; it need not exist.

    >>> import tempfile
    >>> from tenuto.studies.papers.protocols import Setting
    >>> results = Results(Path(tempfile.mkdtemp()) / "results.jsonl")
    >>> job = Job(protocol="p-mnist", setting=Setting(method="er"), seed=0, buffer=200)
    >>> results.add(job, {"accuracy": 0.5, "matrix": None})
    >>> Results(results.path).of(job)["accuracy"], len(results)
    (0.5, 1)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: dict[str, dict[str, Any]] = {}
        for line in _lines(path):
            self._held[line["key"]] = line

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[tuple[Job, Found]]:
        """Every job that was run, and what it gave."""
        for line in self._held.values():
            yield Job.from_plain(line["job"]), line["outcome"]

    def of(self, job: Job) -> Found | None:
        """What a job gave; None where it was not run, or without the matrix that is asked for."""
        line = self._held.get(job.key)
        if line is None or (job.matrix and not job.setting.mixed and line["outcome"]["matrix"] is None):
            return None
        outcome: Found = line["outcome"]
        return outcome

    def add(self, job: Job, outcome: Found) -> None:
        """Keep what a job gave; it is on the disk when this returns."""
        key = job.key
        line = {"key": key, "job": job.to_plain(), "outcome": outcome}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(_whole(self.path))
            file.write((json.dumps(line) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self._held[key] = line


def _whole(path: Path) -> int:
    """How many bytes of the file are whole lines."""
    return path.read_bytes().rfind(b"\n") + 1


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for number, text in enumerate(path.read_bytes()[: _whole(path)].splitlines(), start=1):
        try:
            line = json.loads(text)
        except ValueError as error:
            raise StoreError(f"{path} line {number} is no JSON ({error}); mend or remove it") from error
        if not isinstance(line, dict) or line.keys() != {"key", "job", "outcome"}:
            raise StoreError(f"{path} line {number} is no result: it must have key, job and outcome")
        yield line
