"""tenuto review: rows that were acknowledged and left out, to be approved or rejected."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts, moment, plural, short, write
from tenuto.cli.shared.words import reader
from tenuto.store import survey
from tenuto.store.home import Home
from tenuto.store.survey import Aside

ALL = "all"


@click.command()
@options.home
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Rows to list.")
@click.option("--approve", multiple=True, metavar="ID", help="Learn this row after all, or all of them.")
@click.option("--reject", multiple=True, metavar="ID", help="Forget this row for good, or all of them.")
@options.yes
@options.as_json
def command(
    home: Path, limit: int, approve: tuple[str, ...], reject: tuple[str, ...], yes: bool, as_json: bool
) -> int:
    """List the rows that lie aside, and why; approve or reject them.

    A guard left them out of a step, a reset went back to before them, or they contradict an approved answer.
    They are in the journal, and no part of the model. An approved row is learned now, whoever sent it, and
    takes the place of the answers it contradicts; a rejected one is wiped from disk.
    """
    with Home.view(home) as view:
        total = survey.rows(view).aside
        rows = survey.aside(view, total if ALL in (*approve, *reject) else limit)
        put = reader(view)
        told = [_plain(row, put, survey.contradicted(view, row)) for row in rows]
        known = {id for id in (*approve, *reject) if id == ALL or survey.lies_aside(view, id)}
    if missing := [id for id in (*approve, *reject) if id not in known]:
        raise click.UsageError(f"no row {missing[0]!r} lies aside")
    if not (approve or reject):
        _list(home, told, total, as_json)
        return Exit.OK
    learn, drop = (_meant(ids, rows) for ids in (approve, reject))
    if both := set(learn) & set(drop):
        raise click.UsageError(f"{sorted(both)[0]!r} is to be approved and rejected; say one of them")
    if drop and not (yes or as_json) and sys.stdin.isatty():
        click.confirm(f"Forget {plural(len(drop), 'row')} for good?", abort=True, err=True)
    from tenuto.cli.shared.learning import settle
    from tenuto.session import Session

    settle()
    with Session(home) as session:
        before = session.learner.stats.examples
        if learn:
            session.take(learn, approved=True)
        learned = session.learner.stats.examples - before
        if drop:
            session.forget(id=drop)
        session.snapshot()
        done: dict[str, Any] = {
            "home": str(home),
            "approved": len(learn),
            "learned": learned,
            "rejected": len(drop),
            "step": session.k,
            "digest": session.learner.digest(),
            "frozen": session.frozen or None,
        }
    if as_json:
        emit(done)
        return Exit.OK
    lines: dict[str, str | list[str]] = {}
    if learn:
        lines["approved"] = f"{plural(len(learn), 'row')}, {learned} of them learned"
    if drop:
        lines["rejected"] = f"{plural(len(drop), 'row')}, forgotten for good"
    if done["frozen"]:
        lines["frozen"] = "nothing is learned before tenuto thaw, or tenuto rollback"
    facts(lines | {"state": f"step {done['step']:,}, digest {done['digest']}"})
    return Exit.OK


def _meant(ids: tuple[str, ...], rows: list[Aside]) -> list[str]:
    """The ids that were named; `all` names every one."""
    return [row.id for row in reversed(rows)] if ALL in ids else list(dict.fromkeys(ids))


def _list(home: Path, rows: list[dict[str, Any]], total: int, as_json: bool) -> None:
    if as_json:
        emit({"home": str(home), "aside": total, "rows": rows})
        return
    for row in rows:
        sender = f"  from {row['principal']}" if row["principal"] else ""
        write(f"{row['id']}  {moment(row['received_at'])}{sender}", bold=True)
        write(f"  {row['reason']}" + (f"  (step {row['step']:,})" if row["step"] is not None else ""))
        write(f"  {short(row['content'])}", dim=True)
        if row["against"] is not None:
            write(f"  {short(row['against'])}  (approved)", dim=True)
    if len(rows) < total:
        write(f"{len(rows)} of {plural(total, 'row')} lying aside; --limit shows more", dim=True)
    elif not rows:
        write("no row lies aside")


def _plain(row: Aside, put: Callable[[bytes], str], against: bytes | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "source": row.source,
        "principal": row.principal,
        "received_at": row.received_at,
        "step": row.step,
        "reason": row.reason,
        "content": put(row.body),
        "against": None if against is None else put(against),
    }
