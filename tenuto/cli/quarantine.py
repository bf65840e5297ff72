"""tenuto quarantine: the rows that were set apart, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, moment, plural, short, write
from tenuto.store import survey
from tenuto.store.home import Home
from tenuto.store.records import Quarantined
from tenuto.streams.body import read


@click.command()
@options.home
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Rows to list.")
@click.option("--id", metavar="ID", help="Only the rows of this id.")
@options.as_json
def command(home: Path, limit: int, id: str | None, as_json: bool) -> int:
    """List the rows that were set apart, and why.

    The newest come first. Nothing learned them. Correct a row and learn it under the same id, or forget it.
    """
    with Home.view(home) as view:
        total = view.journal.counts()["quarantined"]
        if id is None:
            rows = survey.quarantine(view, limit)
        else:
            rows = view.journal.quarantined(id=id, limit=limit)[::-1]
    if as_json:
        emit({"home": str(home), "quarantined": total, "rows": [_plain(row) for row in rows]})
        return Exit.OK
    for row in rows:
        write(f"{row.id}  {moment(row.received_at)}", bold=True)
        write(f"  {row.reason}")
        write(f"  {short(content(row.body))}", dim=True)
    if len(rows) < total:
        write(f"{len(rows)} of {plural(total, 'row')} set apart; --limit shows more", dim=True)
    elif not rows:
        write("no row was set apart")
    return Exit.OK


def _plain(row: Quarantined) -> dict[str, Any]:
    return {
        "n": row.n,
        "id": row.id,
        "source": row.source,
        "row": row.source_offset,
        "reason": row.reason,
        "received_at": row.received_at,
        "principal": row.principal,
        "content": content(row.body),
    }


def content(sent: bytes) -> str:
    """What was sent: the line of a file, or in words what had been read of it."""
    try:
        body = read(sent)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return sent.decode(errors="replace").strip()
    return f"{body.dtype} input of shape {body.shape}, target {body.target!r}"
