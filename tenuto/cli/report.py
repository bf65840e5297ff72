"""tenuto report: a home as one HTML file, beside whoever writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tenuto
from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, moment, percent, plural, write
from tenuto.cli.shared.overview import lines, overview
from tenuto.cli.shared.sites import listing, sites
from tenuto.store import survey
from tenuto.store.home import Home

if TYPE_CHECKING:
    from tenuto.evaluation import Curve, Listing, Report
    from tenuto.store.records import CurvePoint

POINTS = 100
"""Points of a curve, at most."""
ROWS = 20
"""Quarantined rows that are listed, at most."""


@click.command()
@options.home
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default="report.html", show_default=True
)
@click.option(
    "--png", type=click.Path(path_type=Path, dir_okay=False), help="Write the curves as a picture too."
)
@options.as_json
def command(home: Path, out: Path, png: Path | None, as_json: bool) -> int:
    """Write a report of a home as HTML.

    It shows curves, memory, snapshots, quarantine and facts, of ogp_lora what each site protects, and opens
    without a network.
    """
    from tenuto.evaluation import render

    with Home.view(home) as view:
        protected = sites(view)
        made = _report(view, protected)
    out.write_text(render(made), encoding="utf-8")
    if png is not None:
        from tenuto.evaluation import save_png

        save_png(made, png)
    if as_json:
        written = {"report": str(out), "png": None if png is None else str(png)}
        emit({"home": str(home), **written, "sites": protected})
    else:
        write(f"wrote {out}" + ("" if png is None else f" and {png}"))
    return Exit.OK


def _report(home: Home, protected: list[dict[str, Any]] | None) -> Report:
    """What a home tells, drawn."""
    from tenuto.evaluation import Report, Run

    told, points = overview(home), home.ledger.curve(POINTS)
    runs = []
    if points:
        runs = [Run(method=told["method"], seed=told["seed"], curves=_curves(points))]
    return Report(
        title=home.path.name,
        subtitle=f"{plural(told['rows']['learned'], 'row')} learned in {plural(told['step'], 'step')}.",
        runs=tuple(runs),
        listings=tuple(_listings(home, told, protected)),
        facts={"command": f"tenuto report --home {home.path}", "version": f"tenuto {tenuto.__version__}"},
    )


def _curves(points: Sequence[CurvePoint]) -> dict[str, Curve]:
    """Loss and progressive accuracy over the rows of the kept steps."""
    from tenuto.evaluation import Curve

    seen = tuple(accumulate(float(point.rows) for point in points))
    right = tuple(
        None if point.correct is None or not point.rows else point.correct / point.rows for point in points
    )
    across = "rows learned"
    curves = {"Loss": Curve(x=seen, y=tuple(p.loss for p in points), x_label=across, y_label="nats per row")}
    if any(share is not None for share in right):
        label = "share right just before being learned"
        curves["Progressive accuracy"] = Curve(x=seen, y=right, x_label=across, y_label=label)
    return curves


def _listings(home: Home, told: dict[str, Any], protected: list[dict[str, Any]] | None) -> Iterator[Listing]:
    """The home at a glance, what it protects, memory by class, snapshots, quarantine."""
    from tenuto.evaluation import Listing

    held, said = told["memory"], lines(told)
    del said["memory"], said["snapshots"]
    yield Listing(
        title="At a glance",
        head=("", ""),
        rows=tuple((name, one if isinstance(one, str) else "; ".join(one)) for name, one in said.items()),
    )
    if protected:
        yield listing(protected)
    if held.classes:
        shares = tuple(count / held.read for count in held.classes.values())
        yield Listing(
            title="What memory holds",
            note=f"{plural(held.rows, 'row')} to be replayed, by class"
            + ("." if held.read == held.rows else f"; {held.read:,} of them looked at."),
            head=("class", "rows", "share"),
            rows=tuple(
                (str(label), f"{count:,}", percent(share))
                for (label, count), share in zip(held.classes.items(), shares, strict=True)
            ),
            shares=shares,
        )
    yield Listing(
        title="Where it can go back to",
        note="The kept snapshots; `tenuto learn --from` goes back to one.",
        head=("step", "name", "taken", "digest"),
        rows=tuple(
            (f"{row.k:,}", row.name or "", moment(row.created_at), row.digest[:16])
            for row in home.snapshots.list()
        ),
    )
    apart, total = survey.quarantine(home, ROWS), told["rows"]["quarantined"]
    if apart:
        yield Listing(
            title="What was set apart",
            note=f"The newest {len(apart)} of {plural(total, 'row')} that nothing learned.",
            head=("row", "reason"),
            rows=tuple((row.id, row.reason) for row in apart),
        )
