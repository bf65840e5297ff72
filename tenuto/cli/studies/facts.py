"""tenuto bench facts: a language model is told invented facts; what it recalls, and what it still knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, plural, table, write

if TYPE_CHECKING:
    from tenuto.cli.shared.stages import Stages
    from tenuto.studies.facts.teaching import Job, Method, Probe, Voice
    from tenuto.studies.facts.telling import Found
    from tenuto.studies.results import Results

METHODS = ("naive", "replay", "anchored", "protected")


@click.command()
@click.option("--facts", type=click.IntRange(1, 20), default=20, show_default=True, help="How many are told.")
@click.option("--methods", multiple=True, type=click.Choice(METHODS), help="Several.  [default: all]")
@click.option("--seeds", multiple=True, type=int, help="A run's seed; several.  [default: 0 to 2]")
@click.option("--model", default="smollm2", show_default=True, help="The base: smollm2, a folder, a hub's.")
@click.option(
    "--precision",
    type=click.Choice(("float32", "bfloat16")),
    default="bfloat16",
    show_default=True,
    help="Of the base while it learns; it is asked in float32.",
)
@click.option(
    "--probe",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON list of prompt and attribute that is asked instead of sixty well-known facts.",
)
@click.option("--rows", metavar="A-B", help="Which of the probe's, as 0-400.  [default: all]")
@click.option("--every", type=click.IntRange(0), default=0, help="Ask the probe after so many facts too.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="out/facts",
    show_default=True,
    help="Folder of the results and the page; run again, it goes on.",
)
@options.as_json
def command(
    facts: int,
    methods: tuple[Method, ...],
    seeds: tuple[int, ...],
    model: str,
    precision: str,
    probe: Path | None,
    rows: str | None,
    every: int,
    out: Path,
    as_json: bool,
) -> int:
    """Tell a language model invented facts one by one, and ask what it knew before.

    Plain LoRA, replay, what a home by name has (anchors and a router), and null-space blocks, each with the
    same adapter and rate. A run's figures are kept as soon as it has ended: a stopped study goes on.
    """
    from tenuto.cli.shared.stages import Stages
    from tenuto.studies import process
    from tenuto.studies.facts import stories, teaching
    from tenuto.studies.results import Results

    process.settle()
    asked = stories.probe(probe, None if rows is None else _range(rows))
    results = Results(out / "results.jsonl", teaching.Job.from_plain)
    shared = {"facts": facts, "model": model, "precision": precision, "every": every}
    todo = [
        teaching.Job.from_plain({"method": method, "seed": seed, "probe": teaching.digest(asked), **shared})
        for seed in seeds or (0, 1, 2)
        for method in methods or METHODS
    ]
    with Stages() as stages:
        voice = _run(todo, results, asked, stages)
    found = [(job, outcome) for job in todo if (outcome := results.of(job)) is not None]
    base = f"The base answers {len(voice.right)} of {len(voice.probe)} beginnings right."
    pages = _pages(found, base, out)
    _tell(found, base, pages, as_json)
    return Exit.OK


def _run(todo: Sequence[Job], results: Results[Job], probe: Probe, stages: Stages) -> Voice:
    """Make the runs that are missing, with a bar for the bare base and one for each method."""
    from tenuto.studies.facts import teaching

    model = todo[0].model
    voice = teaching.Voice(
        model, probe, lambda done, total: stages.tell("before", done, total, f"{done} beginnings asked")
    )
    for job in todo:
        if results.of(job) is not None:
            continue
        name = f"{job.method} {job.seed}"

        def tell(job: Job, done: int, name: str = name) -> None:
            stages.tell(name, done, job.facts, f"{done} of {plural(job.facts, 'fact')} told")

        results.add(job, teaching.teach(job, voice, tell))
    return voice


def _pages(found: Found, base: str, out: Path) -> list[Path]:
    """Write the page and the picture; where they lie."""
    import platform

    import tenuto
    from tenuto.evaluation import render, save_png
    from tenuto.studies.facts import telling

    told = {
        "version": f"tenuto {tenuto.__version__}",
        "machine": f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
    }
    report = telling.report(found, base, told)
    out.mkdir(parents=True, exist_ok=True)
    page, picture = out / "facts.html", out / "facts.png"
    page.write_text(render(report), encoding="utf-8")
    save_png(report, picture)
    return [page, picture]


def _tell(found: Found, base: str, pages: Sequence[Path], as_json: bool) -> None:
    """The table, on the terminal."""
    from tenuto.studies.facts import telling

    lines = telling.lines(found)
    if as_json:
        emit({"lines": lines, "pages": [str(page) for page in pages]})
        return
    for text in table(telling.HEAD, [telling.cells(line) for line in lines]):
        write(text)
    write("")
    write(base)
    for line in lines:
        if line["let_in"]:
            write(f"the router lets in {100 * max(line['let_in']):.1f} % of them at most")
    write(
        "each fact is told until its loss is below 0.1 nat per token, or for 20 updates; answers are greedy"
    )
    write(f"wrote {' and '.join(map(str, pages))}")


def _range(rows: str) -> range:
    first, _, last = rows.partition("-")
    if not (first.isdecimal() and last.isdecimal()):
        raise click.UsageError(f"--rows {rows!r} is no range; write 0-400")
    return range(int(first), int(last))
