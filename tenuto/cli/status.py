"""tenuto status: a home at a glance, beside whoever writes it."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts
from tenuto.cli.shared.overview import lines, overview
from tenuto.store.home import Home


@click.command()
@options.home
@options.as_json
def command(home: Path, as_json: bool) -> int:
    """Show what a home holds.

    Its rows, steps, loss, memory, snapshots and size, and who has it open for writing.
    """
    with Home.view(home) as view:
        told = overview(view)
    if as_json:
        emit({**told, "memory": msgspec.structs.asdict(told["memory"])})
    else:
        facts(lines(told))
    return Exit.OK
