"""tenuto thaw: learn on where a guard froze the learner."""

from __future__ import annotations

from pathlib import Path

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts, plural


@click.command()
@options.home
@options.as_json
def command(home: Path, as_json: bool) -> int:
    """Accept what a frozen learner has lost, and learn on.

    The next audit is the new measure, and the rows that waited are learned. `tenuto rollback` goes back
    instead.
    """
    from tenuto.cli.shared.learning import settle
    from tenuto.session import Session

    settle()
    with Session(home) as session:
        reason, before = session.frozen, session.learner.stats.examples
        session.thaw()
        session.snapshot()
        step, digest = session.k, session.learner.digest()
        learned = session.learner.stats.examples - before
    if as_json:
        emit({"home": str(home), "accepted": reason, "learned": learned, "step": step, "digest": digest})
        return Exit.OK
    facts(
        {
            "accepted": reason,
            "learned": f"{plural(learned, 'row')} that waited",
            "state": f"step {step:,}, digest {digest}",
        }
    )
    return Exit.OK
