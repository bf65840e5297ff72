"""tenuto demo: digits, two new ones at a time; a learner killed and resumed; a row forgotten."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tenuto.evaluation import Report


@click.command()
@options.out
@options.png
@click.option(
    "--seed",
    "seeds",
    type=int,
    multiple=True,
    default=tuple(range(5)),
    help="A run's seed; give several. [default: 0 to 4]",
)
@options.as_json
def command(out: Path, png: Path | None, seeds: tuple[int, ...], as_json: bool) -> int:
    """Show what tenuto does, in half a minute.

    Learns scikit-learn's digits, two new ones at a time, with plain fine-tuning, experience replay and
    DER++; kills its own learner with SIGKILL in the middle, resumes it, and proves that nothing was lost;
    forgets a row and proves that, too. Exit code 3 where a proof does not hold.
    """
    from rich.console import Console

    from tenuto.cli.shared.learning import settle
    from tenuto.cli.shared.stages import Stages
    from tenuto.evaluation import render, save_png, summarise
    from tenuto.studies import demo

    settle()
    begun = time.monotonic()
    console = Console(stderr=as_json, highlight=False)
    told = "".join(f" --seed {seed}" for seed in seeds) if seeds != tuple(range(5)) else ""
    with tempfile.TemporaryDirectory(prefix="tenuto-demo-") as folder, Stages(console) as stages:
        report = demo.report(Path(folder), seeds, stages.tell, command=f"tenuto demo{told}")
    out.write_text(render(report), encoding="utf-8")
    if png is not None:
        save_png(report, png)
    seconds = time.monotonic() - begun
    holds = all(proof.holds for proof in report.proofs)
    if as_json:
        emit(
            {
                "summary": summarise(report),
                "proofs": [
                    {"title": p.title, "holds": p.holds, "evidence": p.evidence} for p in report.proofs
                ],
                "report": str(out),
                "png": None if png is None else str(png),
                "seconds": seconds,
            }
        )
    else:
        _say(console, report, out, seconds)
    return Exit.OK if holds else Exit.DIFFERS


def _say(console: Console, report: Report, out: Path, seconds: float) -> None:
    """The table and the proofs."""
    console.print()
    console.print(_table(report))
    if len(seeds := report.joint or ()) > 1:
        console.print(f"[dim]mean ± half the 95 % interval over {len(seeds)} seeds[/]")
    for proof in report.proofs:
        mark, colour = ("✓", "green") if proof.holds else ("✕", "red")
        console.print(f"\n[{colour}]{mark} {proof.title}[/]")
        console.print(proof.evidence, style="dim", markup=False, soft_wrap=True)
    console.print(f"\nwrote [bold]{out}[/] in {seconds:.0f} s: open it in a browser")


def _table(report: Report) -> Table:
    from rich.table import Table

    from tenuto.evaluation import columns, spell, summarise

    shown = columns(report)
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False)
    table.add_column("Method", no_wrap=True, vertical="bottom")
    for measure in shown:
        title = "\n".join(measure.title.split())
        table.add_column(f"{title}\n[dim]{measure.unit}[/]", justify="right", no_wrap=True)
    for row in summarise(report):
        cells = []
        for measure in shown:
            mean, half = spell(row, measure)
            cells.append((f"{mean} [dim]±{half}[/]" if half else mean) or "[dim]–[/]")
        table.add_row(str(row["method"]), *cells, style="italic" if row["bound"] else None)
    return table
