"""tenuto adapters ls: the adapters in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, table, write


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@options.as_json
def command(folder: Path, as_json: bool) -> int:
    """List the adapters that were exported to FOLDER, the newest generation of each first."""
    import json

    found = [json.loads(path.read_text()) for path in folder.glob("*@*/manifest.json")]
    found.sort(key=lambda one: (one["name"].partition("@")[0], -int(one["name"].partition("@")[2])))
    if as_json:
        emit({"folder": str(folder), "adapters": found})
        return Exit.OK
    lines = [
        (one["name"], one["base"], f"rank {one['rank']}", f"step {one.get('step', '')}") for one in found
    ]
    for number, text in enumerate(table(("adapter", "base", "", ""), lines)):
        write(text, dim=number == 0)
    return Exit.OK
