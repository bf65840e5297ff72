"""tenuto correct: teach a home's language model one answer."""

from __future__ import annotations

from pathlib import Path

import click

from tenuto.cli.chat import MOST, corrected, deferred
from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts


@click.command()
@click.argument("prompt")
@click.argument("answer")
@options.home
@click.option("--principal", metavar="NAME", help="Who corrects.")
@click.option("--later", is_flag=True, help="Take it down; tenuto episode learns it.")
@options.as_json
def command(prompt: str, answer: str, home: Path, principal: str | None, later: bool, as_json: bool) -> int:
    """Learn that PROMPT is answered by ANSWER, ahead of whatever waits.

    Tells what the model answered before, and what it answers now.
    """
    from tenuto.cli.shared.learning import settle
    from tenuto.session import Session
    from tenuto.session.spoken import reply

    settle()
    with Session(home) as session:
        if later:
            came = deferred(session, prompt, answer, principal)
            emit({"home": str(home), "came": came}) if as_json else facts({"correction": came})
            return Exit.OK
        before = reply(session.learner, [("user", prompt)], most=MOST)
        came = corrected(session, prompt, answer, principal)
        now = reply(session.learner, [("user", prompt)], most=MOST)
        session.snapshot()
        step, digest = session.k, session.learner.digest()
    if as_json:
        told = {"before": before, "now": now, "came": came, "step": step, "digest": digest}
        emit({"home": str(home), **told})
    else:
        facts({"before": before, "now": now, "correction": came, "state": f"step {step:,}, digest {digest}"})
    return Exit.OK
