"""The results of the papers' tables: a job that asks for the matrix is not served by a run without it."""

from __future__ import annotations

from pathlib import Path

from tenuto.studies import results
from tenuto.studies.papers.protocols import Job
from tenuto.studies.results import Found


class Results(results.Results[Job]):
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
        super().__init__(path, Job.from_plain)

    def of(self, job: Job) -> Found | None:
        """What a job gave; None where it was not run, or without the matrix that is asked for."""
        found = super().of(job)
        missing = job.matrix and not job.setting.mixed and found is not None and found["matrix"] is None
        return None if missing else found
