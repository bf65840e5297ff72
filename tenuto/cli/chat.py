"""tenuto chat: talk with a home's language model, and correct it."""

from __future__ import annotations

import sys
import time
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
@click.option(
    "--samples", type=click.IntRange(0), default=0, show_default=True, help="Draws that check an answer."
)
def command(home: Path, most: int, principal: str | None, samples: int) -> int:
    """Talk with a home's language model, a line at a time.

    Each line is answered by itself. `/correct TEXT` says what the last answer should have been: it is
    learned at once, and the line asked again. An empty line, or the end of input, ends the talk. Answers are
    counted, and one that an approved correction speaks against is told of: both call for an episode.
    """
    from tenuto.cli.shared.learning import settle
    from tenuto.session import Session
    from tenuto.session.episodes import Consistency, Episodes
    from tenuto.session.spoken import reply

    settle()
    with Session(home) as session:
        voice(session)
        episodes = Episodes(session, verifier=Consistency(session, samples=samples))
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
            said = reply(session.learner, [("user", asked)], most=most)
            write(said)
            if flag := episodes.answered(asked, said):
                complain(f"doubtful: {flag.reason}")
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
    before = session.learner.steps
    name, refused = _taken_down(session, prompt, said, principal)
    if refused:
        return refused
    session.take([name])
    if made := session.learner.steps - before:
        return f"learned as {name} in {made} updates"
    if session.frozen or not survey.lies_aside(session.home, name):
        return f"{name} waits: {session.frozen or 'refused'}"
    why = survey.aside(session.home, 1)[0].reason.removeprefix("hold: ")
    return f"{name} is not learned: {why}; approve or reject it with tenuto review"


def deferred(session: Session, prompt: str, said: str, principal: str | None) -> str:
    """Take a correction down for the next episode; what came of it, in words.

    Raises:
        ExampleError: it cannot be learned: it is empty, or too long.
    """
    from tenuto.session.episodes import Episodes

    name, refused = _taken_down(session, prompt, said, principal)
    if refused:
        return refused
    Episodes(session).corrected(1, time.time())
    return f"{name} waits for the next episode"


def _taken_down(session: Session, prompt: str, said: str, principal: str | None) -> tuple[str, str]:
    """Acknowledge a correction; its id, and why it was not taken."""
    from tenuto.types import OnlineExample

    _, speech = voice(session)
    input, target = speech.row([("user", prompt), ("assistant", said)])
    known = session.home.journal.source("correction")
    name = f"correction:{0 if known is None else known.offset}"
    example = OnlineExample(input=input, target=target, id=name, principal=principal)
    if session.ingest([example], source="correction").accepted:
        return name, ""
    return name, f"not taken: {session.home.journal.quarantined(id=name)[-1].reason}"


def _lines() -> Iterator[str]:
    """What is typed, or piped in, to the first empty line."""
    while True:
        if sys.stdin.isatty():
            click.echo("> ", nl=False, err=True)
        line = sys.stdin.readline().strip()
        if not line:
            return
        yield line
