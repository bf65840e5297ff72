"""tenuto chat: talk with a home's language model, and correct it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import complain, write
from tenuto.errors import ConfigError, TenutoError
from tenuto.store import survey

if TYPE_CHECKING:
    from tenuto.models.language import LanguageModel
    from tenuto.models.speech import Speech
    from tenuto.session import Session

CORRECT = "/correct"
MOST = 128


@click.command()
@options.home
@click.option(
    "--most", type=click.IntRange(1), default=MOST, show_default=True, help="Tokens of an answer, at most."
)
@click.option("--principal", metavar="NAME", help="Who corrects.")
def command(home: Path, most: int, principal: str | None) -> int:
    """Talk with a home's language model, a line at a time.

    Each line is answered by itself. `/correct TEXT` says what the last answer should have been: it is
    learned at once, and the line asked again. An empty line, or the end of input, ends the talk.
    """
    from tenuto.cli.shared.learning import settle
    from tenuto.session import Session
    from tenuto.session.spoken import reply

    settle()
    with Session(home) as session:
        voice(session)
        asked = ""
        for line in _lines():
            if line.split()[0] == CORRECT:
                if not asked:
                    complain("there is nothing to correct yet; ask something first")
                    continue
                try:
                    write(corrected(session, asked, line.removeprefix(CORRECT).strip(), principal), dim=True)
                except TenutoError as error:
                    complain(str(error))
                    continue
            else:
                asked = line
            write(reply(session.learner, [("user", asked)], most=most))
    return Exit.OK


def voice(session: Session) -> tuple[LanguageModel, Speech]:
    """The language model of a home, and its speech. Raises ConfigError where it has none."""
    from tenuto.cli.shared.learning import speech
    from tenuto.models.language import LanguageModel

    words = speech(session)
    model = None if words is None else session.learner.model
    if words is None or not isinstance(model, LanguageModel):
        raise ConfigError(
            f"{session.home.path} holds no language model; make a home with tenuto learn --model smollm2"
        )
    return model, words


def corrected(session: Session, prompt: str, said: str, principal: str | None) -> str:
    """Learn that this prompt is answered so, ahead of whatever waits; what came of it, in words.

    Raises:
        ExampleError: it cannot be learned: it is empty, or too long.
    """
    from tenuto.types import OnlineExample

    _, speech = voice(session)
    input, target = speech.row([("user", prompt), ("assistant", said)])
    known = session.home.journal.source("correction")
    name = f"correction:{0 if known is None else known.offset}"
    example = OnlineExample(input=input, target=target, id=name, principal=principal)
    receipt, before = session.ingest([example], source="correction"), session.learner.steps
    if not receipt.accepted:
        return f"not taken: {session.home.journal.quarantined(id=name)[-1].reason}"
    session.take([name])
    if made := session.learner.steps - before:
        return f"learned as {name} in {made} updates"
    if session.frozen or not survey.lies_aside(session.home, name):
        return f"{name} waits: {session.frozen or 'refused'}"
    why = survey.aside(session.home, 1)[0].reason.removeprefix("hold: ")
    return f"{name} is not learned: {why}; approve or reject it with tenuto review"


def _lines() -> Iterator[str]:
    """What is typed, or piped in, to the first empty line."""
    while True:
        if sys.stdin.isatty():
            click.echo("> ", nl=False, err=True)
        line = sys.stdin.readline().strip()
        if not line:
            return
        yield line
