"""tenuto forget: exact unlearning."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts, plural
from tenuto.store.home import Home


@click.command()
@options.home
@click.option("--id", metavar="ID", help="The row of this id.")
@click.option("--source", metavar="NAME", help="Every row of this source.")
@click.option("--principal", metavar="NAME", help="Every row this one sent.")
@options.yes
@options.as_json
def command(
    home: Path, id: str | None, source: str | None, principal: str | None, yes: bool, as_json: bool
) -> int:
    """Forget rows, and the rows derived from them, for good.

    Their content is wiped from disk, and the model becomes the one that never saw them. Where several
    options are given, rows must fit all of them. There is no way back.
    """
    if id is None and source is None and principal is None:
        raise click.UsageError("say what to forget: --id, --source or --principal")
    with Home.view(home) as view:
        named = view.journal.seqs(id=id, source=source, principal=principal)
        derived = len(view.journal.descendants(named)) - len(named)
    if not (yes or as_json) and sys.stdin.isatty():
        also = f" and {plural(derived, 'row')} derived from them" if derived else ""
        click.confirm(f"Forget {plural(len(named), 'row')}{also} for good?", abort=True, err=True)
    from tenuto.cli.shared.learning import settle
    from tenuto.cli.shared.stages import Stages
    from tenuto.session import Session

    settle()
    with Session(home) as session, Stages() as stages:
        last = session.k
        done = session.forget(
            id=id,
            source=source,
            principal=principal,
            on_step=lambda step: stages.tell("learning again", step.k, last, f"step {step.k:,}"),
        )
        step = session.k
    if as_json:
        emit({"home": str(home), "step": step, **asdict(done)})
        return Exit.OK
    told: dict[str, str | list[str]] = {
        "forgotten": f"{plural(done.entries, 'row')}, {plural(done.quarantined, 'row')} in quarantine"
    }
    if done.rebuilt_from is None:
        told["model"] = "it had not seen them"
    else:
        told["model"] = f"rebuilt from step {done.rebuilt_from:,}, as one that never saw them"
    told["state"] = f"step {step:,}, digest {done.digest}"
    facts(told)
    return Exit.OK
