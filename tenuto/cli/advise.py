"""tenuto advise: which method fits a stream, why, with which settings; with --trial, measured."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, percent, table, write
from tenuto.errors import ConfigError, ExampleError

if TYPE_CHECKING:
    from tenuto.config import OnlineLearnerConfig
    from tenuto.studies.advisor import Advice, Score
    from tenuto.types import OnlineExample

HEAD = 2000
"""Rows of the stream that are looked at."""


@click.command()
@click.argument("stream", required=False)
@click.option("--contexts", type=click.IntRange(1), metavar="N", help="How many contexts there will be.")
@click.option("--rows", type=click.IntRange(1), metavar="N", help="How many rows there will be.")
@click.option("--boundaries", is_flag=True, help="Something says where a context ends.")
@click.option("--drifting", is_flag=True, help="The world changes, and nobody says when.")
@click.option("--quick", is_flag=True, help="It must adapt within a few rows of something new.")
@click.option("--no-memory", is_flag=True, help="Rows may not be kept.")
@click.option("--adapters", is_flag=True, help="Adapters of a language model are trained.")
@click.option(
    "--cost",
    type=click.FloatRange(1.0),
    default=3.0,
    show_default=True,
    metavar="X",
    help="How much dearer than plain fine-tuning a step may be.",
)
@click.option("--trial", is_flag=True, help=f"Let the choice and its rivals learn the first {HEAD:,} rows.")
@options.learner
@options.stream
@options.as_json
@click.pass_context
def command(
    context: click.Context,
    stream: str | None,
    contexts: int | None,
    rows: int | None,
    boundaries: bool,
    drifting: bool,
    quick: bool,
    no_memory: bool,
    adapters: bool,
    cost: float,
    trial: bool,
    as_json: bool,
) -> int:
    """Choose a method.

    The choice follows from what the options say and from what the head of STREAM shows (domains, kinds of
    targets, classes in blocks). With --trial, the choice and its rivals learn that head: every fifth row is
    held out, and the best on those is advised.
    """
    if trial and stream is None:
        raise click.UsageError("--trial needs a STREAM whose first rows it can learn")
    settings, _ = options.settings(context)
    from tenuto.cli.shared.learning import settle
    from tenuto.config import OnlineLearnerConfig
    from tenuto.studies.advisor import Profile, advise

    config = OnlineLearnerConfig.of(settings)
    profile = Profile(
        adapters=adapters,
        quick=quick,
        drifting=drifting,
        contexts=contexts,
        boundaries=boundaries,
        remembers=not no_memory,
        rows=rows,
        cost=cost,
    )
    if config.memory_size is not None:
        profile = replace(profile, memory=config.memory_size)
    head = [] if stream is None else _head(context, stream)
    if head:
        profile = profile.seen(head)
    advice = advise(profile)
    scores: list[Score] = []
    if trial:
        settle()
        advice, scores = _measured(advice, head, config)
    if as_json:
        emit({**asdict(advice), "profile": asdict(profile), "trial": [asdict(score) for score in scores]})
        return Exit.OK
    write(advice.method, bold=True)
    for reason in advice.reasons:
        write(f"  {reason}")
    if scores:
        heads = ["method", "held out", "progressive", "us / row", "refused"]
        told = [
            [s.method, percent(s.accuracy), percent(s.progressive), f"{s.cost:.0f}", f"{s.refused}"]
            for s in scores
        ]
        for line in table(heads, told):
            write(f"  {line}")
    write(f"tenuto learn STREAM --home DIR {advice.arguments()}")
    return Exit.OK


def _head(context: click.Context, stream: str) -> list[OnlineExample]:
    """The first rows of a stream that can be learned; the others would be set aside."""
    from tenuto.streams.validation import Schema

    schema: Schema | None = None
    head: list[OnlineExample] = []
    for chunk in options.opened(context, stream).chunks():
        for row in chunk.rows:
            try:
                if isinstance(row, ExampleError):
                    continue
                if schema is None:
                    words = isinstance(row.target, int | str)
                    schema = Schema.of(row, task="classification" if words else "regression")
                schema.check(row)
                head.append(row)
            except ExampleError:
                continue
        if len(head) >= HEAD:
            break
    if not head:
        raise ConfigError(f"{stream} has no row with a target that could be learned")
    return head[:HEAD]


def _measured(
    advice: Advice, head: list[OnlineExample], config: OnlineLearnerConfig
) -> tuple[Advice, list[Score]]:
    """What the trial of an advice on the head of the stream comes to, showing how far it is."""
    from tenuto.cli.shared.stages import Stages
    from tenuto.studies.advisor import measured

    with Stages() as stages:
        return measured(
            advice,
            head,
            config,
            lambda method, done, total: stages.tell(method, done, total, f"{done:,} of {total:,} rows"),
        )
