"""Options that several verbs take, and how their texts become settings.

Those that are settings or fields of a stream are collected in the context, so that a verb takes them whole.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tenuto.consolidation import ConsolidationScheduler
    from tenuto.streams import Stream
    from tenuto.streams.talk import Encode

Command = Callable[..., int]

home = click.option(
    "--home",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory that holds the learner and its journal.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
out = click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="report.html",
    show_default=True,
    help="Where the page goes.",
)
png = click.option(
    "--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw the curves as a picture too."
)
yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def _collected(group: str, *names: str, **attributes: Any) -> Callable[[Command], Command]:
    """An option whose value, where one is given, goes to a group of the context."""

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value not in (None, ()):
            context.meta.setdefault(group, {})[parameter.name] = value

    return click.option(*names, callback=keep, expose_value=False, **attributes)


FIELDS, SETTINGS, RESTS = "tenuto.fields", "tenuto.settings", "tenuto.rests"
_STREAM = (
    _collected(
        FIELDS, "--format", metavar="NAME", help="jsonl, csv, tsv, npz or idx; else by the file's name."
    ),
    _collected(FIELDS, "--target", metavar="FIELD", help="Field, column or array of the targets."),
    _collected(FIELDS, "--input", metavar="FIELD", help="That of the inputs; columns by commas."),
    _collected(FIELDS, "--id-field", metavar="FIELD", help="That of the ids."),
    _collected(FIELDS, "--domain-field", metavar="FIELD", help="That of the domains."),
)
_LEARNER = (
    _collected(SETTINGS, "--learning-rate", type=float, help="Step size; may change in a living home."),
    _collected(SETTINGS, "--batch-size", type=int, help="Fresh rows per step."),
    _collected(SETTINGS, "--memory-size", type=int, help="Rows the replay buffer holds."),
    _collected(SETTINGS, "--memory-bytes", type=int, help="Bytes it holds at most."),
    _collected(SETTINGS, "--memory-keep", metavar="RULES", help="What it keeps: principal:0.5+age:9000"),
    _collected(SETTINGS, "--replay-ratio", type=float, help="Replayed / all rows of a step."),
    _collected(SETTINGS, "--consolidate-every", type=int, metavar="ROWS", help="Consolidate so often."),
    _collected(SETTINGS, "--sleep-updates", type=int, metavar="N", help="Updates a consolidation makes."),
    _collected(SETTINGS, "--head", metavar="grow|fixed", help="May the output layer gain classes?"),
    _collected(SETTINGS, "--classes", metavar="A,B,...", help="Labels of the head's columns, in order."),
    _collected(SETTINGS, "--seed", type=int, help="Key of every random draw."),
    _collected(SETTINGS, "--task", metavar="NAME", help="classification or regression."),
    _collected(
        SETTINGS, "--strict/--lenient", default=None, help="Stop at the first bad row, or set it aside."
    ),
    _collected(
        SETTINGS, "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Any setting, by name."
    ),
)
_RESTS = (
    _collected(RESTS, "--rest-after", "seconds", type=float, metavar="SECONDS", help="Consolidate so often."),
    _collected(RESTS, "--rest-idle", "idle", type=float, metavar="SECONDS", help="And after such a silence."),
    _collected(RESTS, "--rest-at", "hour", type=float, metavar="HOUR", help="And daily at this hour, UTC."),
)


def stream(command: Command) -> Command:
    """The options that say how a file is read."""
    return _with(command, _STREAM)


def learner(command: Command) -> Command:
    """The options that set how a learner learns and how its home is kept."""
    return _with(command, _LEARNER)


def rests(command: Command) -> Command:
    """The options that say when a clock calls for a consolidation."""
    return _with(command, _RESTS)


def scheduler(context: click.Context) -> ConsolidationScheduler | None:
    """What calls for consolidations, where the options ask for one."""
    from tenuto.consolidation import ConsolidationScheduler

    given = context.meta.get(RESTS)
    return ConsolidationScheduler(**given) if given else None


def opened(
    context: click.Context,
    source: str,
    *,
    name: str | None = None,
    labelled: bool = True,
    pulse: float | None = None,
    encode: Encode | None = None,
) -> Stream:
    """The stream of a path, read as the options say."""
    from tenuto.streams import open_stream

    fields = context.meta.get(FIELDS, {})
    return open_stream(source, name=name, labelled=labelled, pulse=pulse, encode=encode, **fields)


def paced(stream: Stream, pairs: Sequence[str]) -> Stream:
    """The stream in the order of a curriculum, paced as the pairs say; an unknown name is refused."""
    from tenuto import streams
    from tenuto.parts import check_options

    pacing = assigned(pairs, "--pacing")
    check_options("a curriculum", streams.Pacing, pacing)
    return streams.paced(stream, streams.Pacing(**pacing))


def settings(context: click.Context) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the options set for the learner and for the session; an unknown name is refused."""
    from tenuto.config import OnlineLearnerConfig, SessionConfig

    given = dict(context.meta.get(SETTINGS, {}))
    if "classes" in given:
        given["classes"] = labels(given["classes"])
    given |= assigned(given.pop("assignments", ()), "--set")
    known = {field.name for field in dataclasses.fields(SessionConfig)}
    session = {name: given.pop(name) for name in known & set(given)}
    OnlineLearnerConfig.of(given)
    SessionConfig.of(session)
    return given, session


def assigned(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """`name=value` pairs as plain data: a value is JSON where it reads as JSON, else text.

    >>> assigned(["ratio=0.5", "insertion=ring", "hidden=[32, 16]"], "--set")
    {'ratio': 0.5, 'insertion': 'ring', 'hidden': [32, 16]}
    """
    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not name or not equals:
            raise click.UsageError(f"{option} {pair!r} is not name=value; write {option} seed=1")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def labels(text: str) -> list[int | str]:
    """Labels by commas: whole numbers where all of them are.

    >>> labels("0,1,2"), labels("cat, dog")
    ([0, 1, 2], ['cat', 'dog'])
    """
    words = [word.strip() for word in text.split(",")]
    try:
        return [int(word) for word in words]
    except ValueError:
        return [*words]


def _with(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
