"""tenuto adapters ledger: what learning takes beyond the frozen weights, for a base of any shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts, table, write
from tenuto.config import PRECISIONS
from tenuto.store.home import Home

if TYPE_CHECKING:
    from tenuto.studies.ledger import Ledger, Plan

SIZES = {
    "tokens": "Tokens of a row; 512, or what a home's rows have.",
    "rows": "Rows of an update, replayed ones included.",
    "answer": "Tokens of a row that are answers; else three in eight.",
    "rank": "Rank of the block that learns.",
    "frozen": "Rank that a layer's frozen blocks may reach together.",
    "directions": "Columns of a site's basis, at most.",
    "sketched": "Tokens of each update that are sketched.",
    "memory": "Rows of the replay ring.",
    "experts": "Adapters of each layer.",
    "active": "Those of them that answer a row.",
}
"""Numbers of a plan that have an option of their name."""
MIB = 2**20


def _sizes(command: options.Command) -> options.Command:
    """An option for each number, kept in the context."""

    def keep(context: click.Context, parameter: click.Parameter, value: int | None) -> None:
        if value is not None:
            context.meta.setdefault(__name__, {})[parameter.name] = value

    for name, said in reversed(SIZES.items()):
        option = click.option(
            f"--{name}", metavar="N", type=click.IntRange(1), help=said, callback=keep, expose_value=False
        )
        command = option(command)
    return command


@click.command()
@click.argument("home", required=False, type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--shape", metavar="SHAPE", help="Of a Llama: layers=32,width=2048,inner=5632,heads=32,...")
@click.option("--model", metavar="NAME", help="A base: smollm2, a folder with a config.json, a hub's model.")
@_sizes
@click.option("--targets", metavar="NAMES", help="Layers to adapt, by commas; else queries and values.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="What the frozen base is held in.")
@click.option("--checkpointing", is_flag=True, help="Keep of each block its input, and compute it again.")
@click.option("--streamed", is_flag=True, help="Count bases as lying in host memory, one on the device.")
@click.option("--measure/--no-measure", default=True, help="Make an update where the base is at hand.")
@options.as_json
@click.pass_context
def command(
    context: click.Context,
    home: Path | None,
    shape: str | None,
    model: str | None,
    targets: str | None,
    precision: str | None,
    checkpointing: bool,
    streamed: bool,
    measure: bool,
    as_json: bool,
) -> int:
    """Count what an update of ogp_lora takes beyond the frozen weights, term by term, in bytes.

    Of a base's shape, of a base, or of HOME with its settings. Where the base is at hand, an update is made
    with bases and frozen blocks at their bounds, and the allocator's peak is shown beside.
    """
    if sum(one is not None for one in (home, shape, model)) != 1:
        raise click.UsageError("name one: a HOME, --shape layers=32,width=2048, or --model NAME")
    import torch

    from tenuto.studies import ledger

    plan = ledger.Plan()
    if home is not None:
        model, plan = _planned(home)
    sizes = context.meta.get(__name__, {})
    if targets is not None:
        plan = replace(plan, targets=tuple(targets.split(",")), middle=False)
    plan = replace(plan, **sizes, checkpointing=checkpointing or plan.checkpointing, streamed=streamed)
    if precision is not None:
        plan = replace(plan, precision=precision)
    if model is not None and plan.precision != "float32" and not torch.cuda.is_available():
        plan = replace(plan, fused=False)
    found = ledger.count(ledger.shaped(shape or "") if model is None else ledger.configured(model), plan)
    peak = _measured(model, plan) if model is not None and measure and not streamed else None
    if as_json:
        told = [{"name": term.name, "bytes": term.bytes, "place": term.place} for term in found.terms]
        sums = {place: found.total(place) for place in ("device", "host")}
        emit({"terms": told, "sum": sums, "weights": found.weights, "peak": peak})
        return Exit.OK
    _say(found, peak)
    return Exit.OK


def _planned(home: Path) -> tuple[str, Plan]:
    """A home's base, and an update by its settings."""
    from tenuto.session.blueprint import Blueprint
    from tenuto.studies.ledger.homes import planned

    with Home.view(home) as view:
        made = Blueprint.of(view.config)
    return made.model, planned(made)


def _measured(name: str, plan: Plan) -> int:
    """The allocator's peak within an update on a base."""
    from functools import partial

    import torch

    from tenuto.cli.shared.learning import settle
    from tenuto.models import bases
    from tenuto.studies import ledger

    settle()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = bases.load(name, dtype=plan.precision).model
    made = partial(ledger.bounded, plan=plan)
    found = ledger.account(
        model.to(device), made, tokens=plan.tokens, fresh=plan.rows, device=device, answered=plan.answered
    )
    return found.peak


def _say(found: Ledger, peak: int | None) -> None:
    """The terms, their sums, and the peak, in MiB."""
    lines = [(term.name, f"{term.bytes / MIB:10.2f}", term.place) for term in found.terms]
    for number, text in enumerate(table(("beyond the frozen weights", "       MiB", ""), lines)):
        write(text, dim=number == 0)
    device, host = found.total("device"), found.total("host")
    told = {
        "sum": f"{device / MIB:.2f} MiB on the device, {host / MIB:.2f} in host memory; not all at once",
        "peak": "not measured: the base is not at hand" if peak is None else f"{peak / MIB:.2f} MiB",
        "weights": f"{found.weights / MIB:.2f} MiB, frozen, in no sum",
    }
    facts(told)
