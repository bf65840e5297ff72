"""tenuto learn: learn a stream, from where this home left it."""

from __future__ import annotations

import time
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import complain, emit, facts, percent, plural
from tenuto.errors import TenutoError
from tenuto.store import survey
from tenuto.store.home import Home

if TYPE_CHECKING:
    from tenuto.cli.shared.meter import Meter
    from tenuto.consolidation import ConsolidationScheduler
    from tenuto.session import Progress
    from tenuto.store.records import Step
    from tenuto.streams import Stream

REASONS = 3
COMMIT = 2.0
"""Seconds between two commits of a slow stream: what a viewer sees is no older."""
PULSE = 1.0
"""Seconds of silence after which the clock is looked at."""
HELD_OUT = 10_000
"""Rows of a holdout that are asked, at most."""


@click.command()
@click.argument("stream")
@options.home
@click.option("--model", metavar="NAME", help="mlp:400-400, package.module:function, smollm2, or a folder.")
@click.option("--method", metavar="NAME", help="As listed by `tenuto methods`; else er.")
@click.option("--option", "pairs", multiple=True, metavar="NAME=VALUE", help="An option of the method.")
@click.option("--weights", metavar="FILE", help="A new home begins from these: a .safetensors file.")
@options.learner
@options.stream
@click.option("--source", metavar="NAME", help="What to call the stream; else its file's name.")
@click.option(
    "--from", "snapshot", metavar="SNAPSHOT", help="Go back to this snapshot first: a name or a step."
)
@click.option("--holdout", metavar="FILE", help="Rows that are never learned, asked again and again.")
@click.option(
    "--audit-every",
    type=click.IntRange(min=10),
    metavar="STEPS",
    help="Freeze where --holdout proves a loss; needs guard=...+retention.",
)
@click.option("--curriculum", is_flag=True, help="Easy rows of a file first, by the level each has.")
@click.option(
    "--pacing",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of --curriculum: window, patience, start, power, rows.",
)
@options.rests
@click.option("--no-flush", is_flag=True, help="Leave an incomplete last batch waiting.")
@options.as_json
@click.pass_context
def command(
    context: click.Context,
    stream: str,
    home: Path,
    model: str | None,
    method: str | None,
    pairs: tuple[str, ...],
    weights: str | None,
    source: str | None,
    snapshot: str | None,
    holdout: str | None,
    audit_every: int | None,
    curriculum: bool,
    pacing: tuple[str, ...],
    no_flush: bool,
    as_json: bool,
) -> int:
    """Learn STREAM: a file, a folder, or - for standard input.

    The home is made when it is missing, and resumed where it stopped when it is there; settings left
    out are its own. A row that cannot be learned is set aside with the reason, and the stream goes on.
    Ctrl-C stops between two steps; the same command goes on from there.
    """
    learner, kept = options.settings(context)
    chosen = options.assigned(pairs, "--option") or None
    clock = options.scheduler(context)
    rows = options.opened(context, stream, name=source, pulse=None if clock is None else PULSE)
    if pacing and not curriculum:
        raise click.UsageError("--pacing is of a curriculum; give --curriculum too")
    if curriculum:
        rows = options.paced(rows, pacing)
    if audit_every is not None and holdout is None:
        raise click.UsageError("--audit-every asks the rows of a --holdout; give one")
    asked = None if holdout is None else options.opened(context, holdout)
    from tenuto.cli.shared.learning import batch, settle, speech
    from tenuto.cli.shared.meter import Meter
    from tenuto.session import Session

    settle()
    with Session(
        home, model, learner, method=method, options=chosen, weights=weights, settings=kept
    ) as session:
        if words := speech(session):
            pulse, encode = PULSE if clock else None, words.row
            rows = options.opened(context, stream, name=source, pulse=pulse, encode=encode)
            asked = None if holdout is None else options.opened(context, holdout, encode=encode)
        if snapshot is not None:
            session.reset(snapshot)
        known = survey.quarantine(session.home, 1)
        meter = Meter(session, None if asked is None else batch(asked, HELD_OUT))
        if audit_every is not None and meter.holdout is not None:
            session.audit(meter.holdout, every=audit_every)
        fault, stopped = _learn(meter, rows, clock, flush=not no_flush)
    with Home.view(home) as view:
        new = view.journal.quarantined(after=known[0].n if known else 0, limit=REASONS)
        head = view.ledger.head
    told = meter.told() | {
        "home": str(home),
        "step": head.k,
        "digest": head.digest,
        "exact": session.exact,
        "frozen": session.frozen or None,
        "reasons": [row.reason for row in new],
        "stopped": None if stopped is None else stopped.name,
        "error": None if fault is None else {"kind": type(fault).__name__, "message": str(fault)},
    }
    if as_json:
        emit(told)
    elif fault is None or told["rows"]:
        _say(told)
    if fault is not None:
        complain(str(fault))
        return Exit.ERROR
    return Exit.OK if stopped is None else 128 + stopped


def _learn(
    meter: Meter, rows: Stream, clock: ConsolidationScheduler | None, *, flush: bool
) -> tuple[TenutoError | None, Signals | None]:
    """Learn the rows, resting when the clock says so; the error or the signal that stopped it."""
    from tenuto.cli.shared.interrupt import Interrupt
    from tenuto.cli.shared.live import Display
    from tenuto.cli.shared.pace import Pace

    commits = Pace(COMMIT)
    with Interrupt() as interrupt, Display(meter) as display:

        def on_step(step: Step) -> None:
            meter.step(step)
            display.draw()
            interrupt.step()

        def on_progress(progress: Progress) -> None:
            meter.chunk(progress)
            display.draw()
            if commits.due():
                meter.session.run()
            if clock is not None:
                interrupt.step()
                meter.rest(clock, time.time(), on_step)
            interrupt.wait()

        try:
            meter.session.learn(rows, on_progress=on_progress, on_step=on_step, flush=flush)
            meter.session.snapshot()
        except TenutoError as error:
            return error, None
        except KeyboardInterrupt:
            return None, interrupt.signal
        finally:
            meter.stop()
    return None, None


def _say(told: dict[str, Any]) -> None:
    """What was learned, for a person."""
    rate = f"{told['rows_per_second']:,.0f} rows/s, {told['seconds']:.1f} s"
    lines: dict[str, str | list[str]] = {
        "learned": f"{plural(told['rows'], 'row')} in {plural(told['steps'], 'step')} ({rate})"
    }
    if not any(told[name] for name in ("rows", "accepted", "duplicates", "quarantined", "forgotten")):
        lines["learned"] = "nothing new: every row of the stream is known"
    if told["progressive_accuracy"] is not None:
        lines["accuracy"] = f"{percent(told['progressive_accuracy'])} right just before being learned"
    if told["retention"] is not None:
        lines["retention"] = (
            f"{percent(told['retention'])} of rows drawn from all it ever learned still right"
        )
    if told.get("holdout") is not None:
        lines["held out"] = f"{percent(told['holdout'])} right"
    if told.get("holdout_error") is not None:
        lines["held out"] = f"{told['holdout_error']:.4g} mean squared error"
    if told["rests"]:
        causes = [f"{plural(count, 'rest')} ({cause})" for cause, count in told["rests"].items()]
        lines["rested"] = ", ".join(causes)
    if told["duplicates"]:
        lines["duplicates"] = f"{plural(told['duplicates'], 'row')} known already, not learned again"
    if told["forgotten"]:
        lines["refused"] = f"{plural(told['forgotten'], 'row')} of what was forgotten on purpose"
    if told["quarantined"]:
        see = f"{plural(told['quarantined'], 'row')} set aside; see: tenuto quarantine --home {told['home']}"
        lines["quarantine"] = [see, *told["reasons"]]
    if not told["exact"]:
        lines["mode"] = "restart: torch, the processor or the threads are not those that learned before"
    if told["frozen"]:
        lines["frozen"] = f"{told['frozen']}; go back with tenuto rollback, or accept it with tenuto thaw"
    if told["stopped"]:
        lines["stopped"] = f"by {told['stopped']}; the same command goes on from here"
    lines["state"] = f"step {told['step']:,}, digest {told['digest']}"
    facts(lines)
