"""tenuto episode: learn what waits, in eight steps that are told, measured and bounded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import amount, emit, facts, percent, plural, write

if TYPE_CHECKING:
    from tenuto.session import Session
    from tenuto.session.episodes import EpisodeReport, Stage


@click.command()
@click.argument("stream", required=False)
@options.home
@click.option("--now", is_flag=True, help="Make one whether or not it is due.")
@click.option("--seconds", type=click.FloatRange(0), help="Begin no step after these.  [default: 1800]")
@click.option(
    "--memory", type=click.FloatRange(0), metavar="GB", help="Or once it took as much more.  [default: 8]"
)
@click.option("--inferences", type=click.IntRange(1), help="Due after so many answers.  [default: 1000]")
@click.option("--idle", type=click.FloatRange(0.001), help="Due after so many seconds.  [default: 300]")
@options.as_json
def command(
    stream: str | None,
    home: Path,
    now: bool,
    seconds: float | None,
    memory: float | None,
    inferences: int | None,
    idle: float | None,
    as_json: bool,
) -> int:
    """Learn what waits in a home's language model, and the rows of STREAM, where an episode is due.

    It is due after a correction (tenuto correct --later), an answer that was flagged, a drift, so many
    answers, or when no row came for some time. What holds an e-mail address, a phone number or a card number,
    or contradicts an approved answer, is laid aside for tenuto review.
    """
    from tenuto.cli.shared.learning import settle
    from tenuto.config import EpisodeConfig
    from tenuto.reports import Reason
    from tenuto.session import Session
    from tenuto.session.episodes import Episodes, scheduler

    given: dict[str, Any] = {} if seconds is None else {"seconds": seconds}
    if memory is not None:
        given["memory_bytes"] = int(memory * 1e9)
    config = EpisodeConfig.of(given)
    settle()
    with Session(home) as session:
        when = scheduler(inferences=inferences, idle=idle)
        episodes = Episodes(session, when=when, config=config)
        if stream is not None:
            _take_down(session, stream)
        reason = Reason(cause="asked", found="at the command line") if now else None
        report = episodes.run(time.time(), reason, None if as_json else _show)
        told = {"home": str(home), "step": session.k, "digest": session.learner.digest()}
    if as_json:
        emit({**told, "episode": None if report is None else report.to_plain()})
        return Exit.OK
    if report is None:
        write("no episode is due; --now makes one all the same")
        return Exit.OK
    facts(_lines(report, config) | {"state": f"step {told['step']:,}, digest {told['digest']}"})
    return Exit.OK


def _take_down(session: Session, path: str) -> None:
    """Acknowledge the rows of a stream, to be learned by the episode."""
    from tenuto.cli.chat import voice
    from tenuto.streams import open_stream

    _, speech = voice(session)
    session.ingest(open_stream(path, encode=speech.row))


def _show(stage: Stage) -> None:
    write(f"{stage.name:<10}  {stage.seconds:7.1f} s  {stage.told}")


def _lines(report: EpisodeReport, config: Any) -> dict[str, str | list[str]]:
    """What came of it, for a person."""
    before, after = report.before, report.after
    lines: dict[str, str | list[str]] = {
        "episode": f"{report.number} ({report.cause}: {report.found})" if report.number else report.stopped,
        "learned": f"{plural(report.learned, 'row')}, {report.held} held, {report.waiting} waiting",
    }
    if report.number and report.stopped:
        lines["stopped"] = f"{report.stopped}; the rest waits for the next one"
    if after.retention is not None:
        lines["base retention"] = f"{percent(after.retention)} of the anchors' tokens as the base said first"
    if after.accumulation is not None:
        lines["accumulation"] = (
            f"{percent(after.accumulation)} of approved answers right, {percent(before.accumulation)} before"
        )
    if report.drift is not None:
        lines["adapter"] = f"its weights moved by {report.drift:.1%} of their length"
    if after.perplexity is not None:
        lines["quality"] = f"perplexity {after.perplexity:.3g} of the approved answers"
    lines["took"] = (
        f"{report.seconds:.1f} s of {config.seconds:g} s, "
        f"{amount(report.memory_bytes)} of {amount(config.memory_bytes)}"
    )
    if report.candidate is not None:
        lines["candidate"] = f"{report.candidate}; tenuto rollback goes back to it by this name"
    return lines
