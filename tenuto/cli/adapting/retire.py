"""tenuto adapters retire: a closed adapter answers no row any more."""

from __future__ import annotations

from pathlib import Path

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts


@click.command()
@click.argument("adapter")
@options.home
@options.as_json
def command(adapter: str, home: Path, as_json: bool) -> int:
    """Have ADAPTER of a home answer no row any more; what it learned stays, and can still be exported.

    Rows like those it learned go to the next nearest adapter, or to the base. One that still learns cannot
    retire. `tenuto rollback` goes back to a state from before.
    """
    from tenuto.cli.shared.learning import settle
    from tenuto.session import Session

    settle()
    with Session(home) as session:
        session.retire(adapter)
        session.snapshot()
        step, digest, adapters = session.k, session.learner.digest(), session.learner.adapters
        left = [] if adapters is None else [name for name in adapters.names if name not in adapters.retired]
    if as_json:
        emit({"home": str(home), "retired": adapter, "answering": left, "step": step, "digest": digest})
        return Exit.OK
    facts({"retired": adapter, "answering": ", ".join(left), "state": f"step {step:,}, digest {digest}"})
    return Exit.OK
