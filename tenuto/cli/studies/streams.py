"""tenuto bench streams: real streams that move, with and without an answer to drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, plural, table, write

if TYPE_CHECKING:
    from tenuto.studies.streams.campaign import Data, Job
    from tenuto.studies.streams.telling import Found


@click.command()
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="A stream: elec2, digits-leaps, digits-steady, mnist-360; several.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="How many, from 0.")
@click.option("--rows", type=click.IntRange(min=1), help="Of each stream, from its head.  [default: all]")
@click.option("--tune", is_flag=True, help="Choose settings of MNIST-360 on held-out rows; seeds 100, 101.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at a time.")
@click.option(
    "--data",
    envvar="TENUTO_DATA",
    default="data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder that holds mnist/ and electricity/; else $TENUTO_DATA.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of a page with curves.")
@options.as_json
def command(
    only: tuple[str, ...],
    seeds: int,
    rows: int | None,
    tune: bool,
    workers: int,
    data: Path,
    out: Path | None,
    as_json: bool,
) -> int:
    """Walk learners along streams that move: each row is answered before it is learned.

    Elec2 beside River's classifiers (where River is installed), MNIST's digits that leap or turn, and
    MNIST-360 with its paper's table. ER with the preset `fast()` acts on drift, or does not.
    """
    from tenuto.studies.streams import campaign, river, telling

    chosen = [*dict.fromkeys(only)] or list(campaign.TITLES)
    todo = campaign.trials() if tune else campaign.jobs(chosen, seeds)
    found = _run(todo, campaign.Data(folder=data, rows=rows), workers)
    if tune:
        _tell_tried(found, as_json)
        return Exit.OK
    left_out = []
    if "elec2" in chosen and not river.installed():
        left_out.append(f"{', '.join(river.CLASSIFIERS)}: River is not installed (pip install river)")
    page = None if out is None else _page(found, left_out, out, _command(only, seeds, rows))
    if as_json:
        lines = [line.to_plain() for line in telling.moving(found)]
        told = {"seeds": seeds, "progressive": lines, "mnist_360": telling.solved(found)}
        emit({**told, "left_out": left_out, "page": None if page is None else str(page)})
    else:
        _tell(found, left_out, seeds, page)
    return Exit.OK


def _run(todo: Sequence[Job], data: Data, workers: int) -> Found:
    """Make the runs, with a bar for each stream."""
    from tenuto.cli.shared.stages import Stages
    from tenuto.studies.streams import campaign

    runs, ended = Counter(job.stream for job in todo), Counter[str]()
    with Stages() as stages:

        def tell(job: Job) -> None:
            ended[job.stream] += 1
            told = f"{ended[job.stream]} of {plural(runs[job.stream], 'run')}; {job.learner}, seed {job.seed}"
            stages.tell(job.stream, ended[job.stream], runs[job.stream], told)

        return campaign.run(todo, data, workers, tell)


def _page(found: Found, left_out: Sequence[str], out: Path, told: str) -> Path:
    """Write the page; where it lies."""
    import platform

    import tenuto
    from tenuto.evaluation import render
    from tenuto.studies.streams import telling

    facts = {
        "command": told,
        "version": f"tenuto {tenuto.__version__}",
        "machine": f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / "streams.html"
    path.write_text(render(telling.report(found, left_out, facts)), encoding="utf-8")
    return path


def _command(only: Sequence[str], seeds: int, rows: int | None) -> str:
    """The command that gives these figures again."""
    words = ["tenuto bench streams", f"--seeds {seeds}", *(f"--only {name}" for name in only)]
    return " ".join(words if rows is None else [*words, f"--rows {rows}"])


def _tell(found: Found, left_out: Sequence[str], seeds: int, page: Path | None) -> None:
    """The tables, on the terminal."""
    from tenuto.studies.streams import telling

    for text in table(telling.MOVING, [line.cells() for line in telling.moving(found)]):
        write(text)
    if solved := telling.solved(found):
        write("")
        write("MNIST-360, accuracy in the end, %", bold=True)
        for text in table(telling.TABLE, [telling.table_cells(line) for line in solved]):
            write(text)
    write("")
    for words in left_out:
        write(f"left out: {words}")
    write(f"± is half the 95 % interval over {plural(seeds, 'seed')}; gains are paired by seed, in points")
    if page is not None:
        write(f"wrote {page}: open it in a browser")


def _tell_tried(found: Found, as_json: bool) -> None:
    """What was tried on held-out rows, each line's best setting first."""
    from tenuto.studies.streams import telling

    lines = telling.solved(found)
    if as_json:
        emit([{**line, "paper": None} for line in lines])
        return
    for text in table(telling.TRIED, telling.tried_cells(lines)):
        write(text)
