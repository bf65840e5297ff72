"""What was measured: one line of JSON per run, appended when the run has ended and never changed.

A line is {"key": ..., "job": ..., "outcome": ...}. The last line of a key counts. A line without its end was
cut by a crash: it is not read, and the next one takes its place.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from tenuto.errors import StoreError

Found = dict[str, Any]


class Run(Protocol):
    """A piece of work with a name of its own."""

    @property
    def key(self) -> str: ...
    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""


J = TypeVar("J", bound=Run)


class Results(Generic[J]):
    """The results in a file; it need not exist.

    Args:
        path: the file.
        read: makes a job of what its `to_plain` gave.

    >>> import tempfile
    >>> from tenuto.studies.facts.teaching import Job
    >>> results = Results(Path(tempfile.mkdtemp()) / "results.jsonl", Job.from_plain)
    >>> job = Job(method="naive", seed=0)
    >>> results.add(job, {"recalled": 4})
    >>> Results(results.path, Job.from_plain).of(job), len(results)
    ({'recalled': 4}, 1)
    """

    def __init__(self, path: Path, read: Callable[[dict[str, Any]], J]) -> None:
        self.path, self._read = path, read
        self._held: dict[str, dict[str, Any]] = {}
        for line in _lines(path):
            self._held[line["key"]] = line

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[tuple[J, Found]]:
        """Every job that was run, and what it gave."""
        for line in self._held.values():
            yield self._read(line["job"]), line["outcome"]

    def of(self, job: J) -> Found | None:
        """What a job gave; None where it was not run."""
        line = self._held.get(job.key)
        return None if line is None else line["outcome"]

    def add(self, job: J, outcome: Found) -> None:
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
