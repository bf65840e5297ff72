"""tenuto rollback: go back to a kept state."""

from __future__ import annotations

from pathlib import Path

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts, plural
from tenuto.store import survey
from tenuto.store.home import Home


@click.command()
@click.argument("snapshot", required=False)
@options.home
@options.as_json
def command(snapshot: str | None, home: Path, as_json: bool) -> int:
    """Go back to SNAPSHOT, a name or a step of `tenuto snapshots`.

    Without one: to the newest from before the present step, or, where a guard froze the learner, to that of
    the last good audit. What was learned since lies aside and can be approved with `tenuto review`; rows
    that wait are learned.
    """
    from tenuto.cli.shared.learning import settle
    from tenuto.session import Session

    settle()
    with Session(home) as session:
        before = session.k
        session.reset(snapshot)
        step, digest = session.k, session.learner.digest()
    with Home.view(home) as view:
        aside = survey.rows(view).aside
    if as_json:
        emit({"home": str(home), "from": before, "step": step, "digest": digest, "aside": aside})
        return Exit.OK
    told: dict[str, str | list[str]] = {"state": f"step {step:,}, digest {digest}"}
    if aside:
        told["aside"] = f"{plural(aside, 'row')}; see: tenuto review --home {home}"
    facts(told)
    return Exit.OK
