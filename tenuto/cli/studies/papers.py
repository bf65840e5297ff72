"""tenuto bench papers: the tables of the papers run again, ours beside theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import complain, emit, plural, table, write

if TYPE_CHECKING:
    from tenuto.studies.papers.campaign import Failure
    from tenuto.studies.papers.figures import Line
    from tenuto.studies.papers.protocols import Job
    from tenuto.studies.papers.results import Results
    from tenuto.studies.papers.table import Entry

SEEDS, TUNING = (0, 1, 2, 3, 4), (100, 101, 102, 103, 104)
"""Reported, and chosen on: never the same."""


@click.command()
@click.option(
    "--only", multiple=True, metavar="NAME", help="A protocol: p-mnist, r-mnist, s-mnist, p-mnist-10."
)
@click.option("--methods", multiple=True, metavar="NAME", help="A method as the paper spells it; several.")
@click.option("--buffers", multiple=True, type=int, help="A size of memory; several.")
@click.option("--seeds", multiple=True, type=int, help="A run's seed; several.  [default: 0 to 4]")
@click.option("--matrix", is_flag=True, help="Test every context after each one, too.")
@click.option("--tune", is_flag=True, help="Try each method's grid on held-out rows; seeds 100 to 104.")
@click.option("--draw", is_flag=True, help="Run nothing: show what was measured.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at a time.")
@click.option(
    "--data",
    envvar="TENUTO_MNIST",
    default="mnist",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of MNIST's IDX files; else that of $TENUTO_MNIST.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="out/papers",
    show_default=True,
    help="Folder of the results and the page; run again, it goes on.",
)
@options.as_json
def command(
    only: tuple[str, ...],
    methods: tuple[str, ...],
    buffers: tuple[int, ...],
    seeds: tuple[int, ...],
    matrix: bool,
    tune: bool,
    draw: bool,
    workers: int,
    data: Path,
    out: Path,
    as_json: bool,
) -> int:
    """Run the tables of the papers again and show ours beside theirs.

    Each run is a process of one thread; its figure is kept as soon as it has ended, so that a stopped
    study goes on where it was and no run is made twice. Exit code 1 where a run failed.
    """
    from tenuto.studies.papers import campaign
    from tenuto.studies.papers.results import Results
    from tenuto.studies.papers.streams import digest
    from tenuto.studies.papers.table import entries

    chosen = lines(only, methods, buffers)
    seeds = seeds or (TUNING if tune else SEEDS)
    results = Results(out / "results.jsonl")
    rows = digest(data)
    todo = campaign.trials(chosen, seeds, rows) if tune else campaign.jobs(chosen, seeds, rows, matrix=matrix)
    failures = [] if draw else _run([*todo], results, data, workers)
    for failure in failures:
        complain(f"{failure.job.protocol}, {_name(failure.job)}: {failure.reason}")
    if tune:
        _tell_choices(results, [line.protocol for line in chosen], as_json)
    else:
        path = _page(results, rows, out)
        _tell_tables(list(entries(chosen, seeds, rows, results)), seeds, path, failures, as_json)
    return Exit.ERROR if failures else Exit.OK


def lines(only: Sequence[str], methods: Sequence[str], buffers: Sequence[int]) -> list[Line]:
    """The lines of the tables that are asked for; where nothing is, all of them."""
    from tenuto.studies.papers import figures

    known = list(figures.TABLES)
    every = [line for name in known for line in figures.lines(name)]
    for asked, there in ((only, known), (methods, list(dict.fromkeys(line.method for line in every)))):
        if unknown := [name for name in asked if name not in there]:
            raise click.UsageError(f"{unknown[0]!r} is in no table; known: {', '.join(there)}")
    return [
        line
        for line in every
        if (not only or line.protocol in only)
        and (not methods or line.method in methods)
        and (not buffers or line.buffer is None or line.buffer in buffers)
    ]


def _run(todo: Sequence[Job], results: Results, data: Path, workers: int) -> list[Failure]:
    """Run what is missing, with a bar for each protocol."""
    from tenuto.cli.shared.stages import Stages
    from tenuto.studies.papers import campaign

    missing = [job for job in todo if results.of(job) is None]
    runs = Counter(job.protocol for job in missing)
    begun: dict[str, dict[str, float]] = {name: {} for name in runs}
    with Stages() as stages:

        def tell(job: Job, done: int, total: int) -> None:
            far = begun[job.protocol]
            far[job.key] = done / total
            ended = sum(share == 1 for share in far.values())
            told = f"{ended} of {plural(runs[job.protocol], 'run')}; {_name(job)}"
            stages.tell(job.protocol, int(1000 * sum(far.values())), 1000 * runs[job.protocol], told)

        return campaign.run(missing, results, data, workers=workers, tell=tell)


def _name(job: Job) -> str:
    size = "" if job.buffer is None else f" {job.buffer}"
    return f"{job.setting}{size}, seed {job.seed}"


def _page(results: Results, rows: str, out: Path) -> Path:
    """Write all tables, with every seed that was ever run, as a page; where it lies."""
    import platform

    import tenuto
    from tenuto.studies.papers import page
    from tenuto.studies.papers.table import entries

    seeds = sorted({job.seed for job, _ in results if job.judged == "test"})
    found = list(entries(lines((), (), ()), seeds, rows, results))
    facts = {
        "command": "tenuto bench papers",
        "seeds": ", ".join(map(str, seeds)),
        "version": f"tenuto {tenuto.__version__}",
        "machine": f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
    }
    path = out / "papers.html"
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(page.render(found, facts), encoding="utf-8")
    return path


def _tell_tables(
    found: Sequence[Entry],
    seeds: Sequence[int],
    page: Path,
    failures: Sequence[Failure],
    as_json: bool,
) -> None:
    """The tables that were asked for, on the terminal."""
    from tenuto.studies.papers.protocols import PROTOCOLS
    from tenuto.studies.papers.table import HEAD

    if as_json:
        failed: list[dict[str, Any]] = [{"job": _name(f.job), "reason": f.reason} for f in failures]
        told = [entry.to_plain() for entry in found]
        emit({"seeds": list(seeds), "lines": told, "failed": failed, "page": str(page)})
        return
    for name in dict.fromkeys(entry.line.protocol for entry in found):
        write(PROTOCOLS[name].title, bold=True)
        for text in table(HEAD, [entry.cells() for entry in found if entry.line.protocol == name]):
            write(text)
        write("")
    write(f"wrote {page}; ± is half the 95 % interval of the mean over seeds {', '.join(map(str, seeds))}")


def _tell_choices(results: Results, protocols: Sequence[str], as_json: bool) -> None:
    """What the grids gave, the best first."""
    from tenuto.studies.papers.table import choices, spell

    found = choices(results, protocols)
    if as_json:
        emit(
            [
                {"protocol": p, "buffer": b, "setting": s, "accuracy": a.mean, "seeds": a.n}
                for p, b, s, a in found
            ]
        )
        return
    rows = [(p, "" if b is None else f"{b:,}", spell(a), str(a.n), s) for p, b, s, a in found]
    for text in table(("protocol", "buffer", "validation", "seeds", "setting"), rows):
        write(text)
