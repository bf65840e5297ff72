"""tenuto adapters ls: the adapters in a folder, or those of a home and whether they learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.adapters import is_home, kept
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, table, write


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@options.as_json
def command(folder: Path, as_json: bool) -> int:
    """List the adapters that were exported to FOLDER, the newest generation of each first.

    Where FOLDER is a home, list its adapters, and whether each is active, frozen or retired.
    """
    import json

    if is_home(folder):
        status = kept(folder).bank.status
        if as_json:
            emit({"home": str(folder), "adapters": [{"name": n, "status": s} for n, s in status.items()]})
            return Exit.OK
        _print(("adapter", ""), list(status.items()))
        return Exit.OK
    found = [json.loads(path.read_text()) for path in folder.glob("*@*/manifest.json")]
    found.sort(key=lambda one: (one["name"].partition("@")[0], -int(one["name"].partition("@")[2])))
    if as_json:
        emit({"folder": str(folder), "adapters": found})
        return Exit.OK
    lines = [(one["name"], one["base"], f"rank {one['rank']}", _origin(one)) for one in found]
    _print(("adapter", "base", "", ""), lines)
    return Exit.OK


def _origin(manifest: dict[str, object]) -> str:
    merged = manifest.get("merged")
    return (
        f"merged of {', '.join(merged)}" if isinstance(merged, dict) else f"step {manifest.get('step', '')}"
    )


def _print(head: tuple[str, ...], lines: Sequence[Sequence[str]]) -> None:
    for number, text in enumerate(table(head, lines)):
        write(text, dim=number == 0)
