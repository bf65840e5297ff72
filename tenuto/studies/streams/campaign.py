"""Every learner along every stream, under every seed: the runs, and their making, a few at a time.

A run is a function of its job, its data and its rows alone, in whatever process and order it is made.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tenuto.errors import ConfigError
from tenuto.studies.papers.streams import Digits
from tenuto.studies.process import settle
from tenuto.studies.streams import river
from tenuto.studies.streams.digits import leaping, turning
from tenuto.studies.streams.electricity import electricity
from tenuto.studies.streams.measuring import ACTING, FOLLOWERS, WITHOUT, Walk, follower, solver, walk
from tenuto.studies.streams.mnist360 import Ring
from tenuto.studies.streams.moving import Moving
from tenuto.studies.streams.solvers import TUNING, Solver, solvers, tried

TITLES = {
    "elec2": "Elec2",
    "digits-leaps": "Digits that leap",
    "digits-steady": "Digits that turn",
    "mnist-360": "MNIST-360",
}
"""The streams, as the command line and as the page call them."""
Tell = Callable[["Job"], None]
"""Told of each run that has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One run.

    Args:
        stream: one of TITLES.
        learner: one of FOLLOWERS, one of River's, or the name of a line of MNIST-360's table.
        seed: key of the stream, of the model and of every draw.
        solver: the line of MNIST-360's table; None: it is none.
        held_out: test on rows held out of the training rows, and on no test row.
    """

    stream: str
    learner: str
    seed: int
    solver: Solver | None = None
    held_out: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Where the rows lie, and how many of each stream are learned.

    Args:
        folder: the one that holds mnist/ and electricity/.
        rows: of each stream, from its head; None: all.
    """

    folder: Path
    rows: int | None = None


def jobs(streams: Sequence[str], seeds: int) -> list[Job]:
    """The runs of these streams under the seeds 0, 1, ...; River's under seed 0, and only where it is there.

    Raises:
        ConfigError: there is no such stream, or no seed.
    """
    if unknown := [name for name in streams if name not in TITLES]:
        raise ConfigError(f"there is no stream {unknown[0]!r}; known: {', '.join(TITLES)}")
    if seeds < 1:
        raise ConfigError(f"seeds is {seeds}; give at least 1")
    found = []
    for name in streams:
        for seed in range(seeds):
            followers = FOLLOWERS if name == "mnist-360" else (WITHOUT, ACTING)
            found += [Job(stream=name, learner=learner, seed=seed) for learner in followers]
            if name == "mnist-360":
                found += [Job(stream=name, learner=one.name, seed=seed, solver=one) for one in solvers()]
        if name == "elec2" and river.installed():
            found += [Job(stream=name, learner=learner, seed=0) for learner in river.CLASSIFIERS]
    return found


def trials() -> list[Job]:
    """The runs that choose settings of MNIST-360's table, on rows held out and with seeds of their own."""
    return [
        Job(stream="mnist-360", learner=one.name, seed=seed, solver=one, held_out=True)
        for seed in TUNING
        for one in tried()
    ]


def run(todo: Sequence[Job], data: Data, workers: int, tell: Tell) -> list[tuple[Job, Walk]]:
    """Make the runs, each in one thread; what each gave, in the order asked for.

    Args:
        workers: processes at a time; 1: this one.
    """
    if workers == 1:
        settle()
        alone = []
        for job in todo:
            alone.append((job, perform(job, data)))
            tell(job)
        return alone
    return [*_spread(todo, data, workers, tell)]


def perform(job: Job, data: Data) -> Walk:
    """Make one run."""
    stream = _stream(job, data).head(data.rows)
    if job.learner in river.CLASSIFIERS:
        return river.walk(job.learner, stream, job.seed)
    if job.solver is not None:
        return walk(solver(job.solver.setting, job.solver.buffer, job.seed, stream.classes), stream)
    return walk(follower(job.learner, job.seed, stream.classes), stream)


def _stream(job: Job, data: Data) -> Moving:
    if job.stream == "elec2":
        return _electricity(data.folder / "electricity")
    mnist = data.folder / "mnist"
    if job.stream != "mnist-360":
        return (leaping if job.stream == "digits-leaps" else turning)(_digits(mnist), job.seed)
    ring = _ring(mnist, job.seed, job.held_out)
    if job.solver is None:
        return ring.stream()
    return ring.mixed(job.solver.batch) if job.solver.setting.mixed else ring.stream(job.solver.batch)


@lru_cache(maxsize=1)
def _electricity(folder: Path) -> Moving:
    return electricity(folder)


@lru_cache(maxsize=1)
def _digits(folder: Path) -> Digits:
    return Digits.load(folder)


@lru_cache(maxsize=1)
def _ring(folder: Path, seed: int, held_out: bool) -> Ring:
    digits = _digits(folder)
    return Ring(digits.held_out(seed) if held_out else digits, seed)


def _spread(todo: Sequence[Job], data: Data, workers: int, tell: Tell) -> Iterator[tuple[Job, Walk]]:
    """The same in processes of one thread each."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=settle) as pool:
        waiting = [(job, pool.submit(perform, job, data)) for job in todo]
        try:
            for job, future in waiting:
                yield job, future.result()
                tell(job)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
