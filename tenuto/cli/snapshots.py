"""tenuto snapshots: the states a home can go back to."""

from __future__ import annotations

from pathlib import Path

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, moment, table, write
from tenuto.store.home import Home


@click.command()
@options.home
@options.as_json
def command(home: Path, as_json: bool) -> int:
    """List the kept snapshots.

    The newest come first; `tenuto learn --from` goes back to one.
    """
    with Home.view(home) as view:
        rows = view.snapshots.list()
    if as_json:
        told = [
            {
                "name": row.name,
                "step": row.k,
                "at": row.created_at,
                "digest": row.digest,
                "pinned": row.pinned,
            }
            for row in rows
        ]
        emit({"home": str(home), "snapshots": told})
        return Exit.OK
    lines = [
        (
            f"{row.k:,}",
            row.name or "",
            moment(row.created_at),
            "pinned" if row.pinned else "",
            row.digest[:12],
        )
        for row in rows
    ]
    for i, text in enumerate(table(("step", "name", "taken", "", "digest"), lines)):
        write(text, dim=i == 0)
    return Exit.OK
