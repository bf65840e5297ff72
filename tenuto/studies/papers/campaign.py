"""The runs of a table that are still missing, each in a process of its own, a few at a time.

Stopped at any moment, it goes on where it was: what has ended is in the results.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from tenuto.errors import TenutoError
from tenuto.methods import known
from tenuto.studies.papers.figures import Line
from tenuto.studies.papers.protocols import PROTOCOLS, Job, Setting
from tenuto.studies.papers.results import Results
from tenuto.studies.papers.settings import GRIDS, setting

Tell = Callable[[Job, int, int], None]
"""Told as it goes: the job, rows learned, of how many."""
TUNED_ON = 5
"""Contexts that a setting is chosen on where there is a memory; a penalty adds up, and needs all of them."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that gave nothing, and why."""

    job: Job
    reason: str


def jobs(lines: Iterable[Line], seeds: Sequence[int], data: str, *, matrix: bool = False) -> Iterator[Job]:
    """The runs that lines need: seed by seed, so that every line has its first figure early.

    Args:
        data: the digest of the rows.
        matrix: test every context after each, even where the protocol does not.
    """
    chosen = [(line, found) for line in lines if (found := runnable(line)) is not None]
    for seed, (line, found) in product(seeds, chosen):
        asked = matrix or PROTOCOLS[line.protocol].matrix
        yield Job(
            protocol=line.protocol, setting=found, seed=seed, data=data, buffer=line.buffer, matrix=asked
        )


def runnable(line: Line) -> Setting | None:
    """What a line is run with; None where nothing is set for it, or the method is not there."""
    found = setting(line)
    return found if found is not None and found.method in known() else None


def trials(lines: Iterable[Line], seeds: Sequence[int], data: str) -> Iterator[Job]:
    """The runs that choose a setting: each line's grid, on held-out rows."""
    for line, seed in product(lines, seeds):
        if (found := runnable(line)) is None:
            continue
        count = None if line.buffer is None else min(TUNED_ON, PROTOCOLS[line.protocol].contexts)
        for one in [found, *(tried for tried in grid(line, found) if tried != found)]:
            yield Job(
                protocol=line.protocol,
                setting=one,
                seed=seed,
                data=data,
                buffer=line.buffer,
                judged="validation",
                contexts=count,
            )


def grid(line: Line, found: Setting) -> Iterator[Setting]:
    """A line's setting with every choice of its method's grid."""
    axes = GRIDS.get(line.method, {})
    for values in product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        rate = {"learning_rate": chosen.pop("learning_rate")} if "learning_rate" in chosen else {}
        yield replace(found, config={**found.config, **rate}, options={**found.options, **chosen})


def run(jobs: Sequence[Job], results: Results, data: Path, *, workers: int, tell: Tell) -> list[Failure]:
    """Run what the results do not hold; the runs that failed.

    Args:
        data: the folder of MNIST's IDX files.
        workers: processes at a time, of one thread each.
        tell: told as it goes, from several threads.
    """
    failures, live = [], set[subprocess.Popen[str]]()
    pool = ThreadPoolExecutor(workers)
    try:
        waiting = {pool.submit(_one, job, data, tell, live): job for job in jobs if results.of(job) is None}
        for future in as_completed(waiting):
            try:
                results.add(waiting[future], future.result())
            except TenutoError as error:
                failures.append(Failure(waiting[future], str(error)))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(live):
            process.kill()
        pool.shutdown()
    return failures


def _one(job: Job, data: Path, tell: Tell, live: set[subprocess.Popen[str]]) -> dict[str, Any]:
    """What a run gave, run in a process of its own."""
    command, pipe = [sys.executable, "-m", "tenuto.studies.papers.run"], subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        live.add(process)
        try:
            return _heard(process, job, data, tell)
        finally:
            live.discard(process)


def _heard(process: subprocess.Popen[str], job: Job, data: Path, tell: Tell) -> dict[str, Any]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise TenutoError(f"{job} has no pipes")
    process.stdin.write(json.dumps({"job": job.to_plain(), "data": str(data)}) + "\n")
    process.stdin.close()
    for line in process.stdout:
        told = json.loads(line)
        if "done" in told:
            tell(job, told["done"], told["total"])
        elif "error" in told:
            raise TenutoError(told["error"])
        else:
            return {**told["outcome"], "torch": told["torch"]}
    last = process.stderr.read().strip().splitlines()[-1:]
    raise TenutoError(f"the run ended with code {process.wait()}: {''.join(last) or 'it said nothing'}")
