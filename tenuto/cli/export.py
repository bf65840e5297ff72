"""tenuto export: a home's model as one file, as it is or distilled into a smaller one."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import amount, emit, facts, percent, plural
from tenuto.errors import NothingLearned
from tenuto.store.home import Home

if TYPE_CHECKING:
    from tenuto.learner import Learner
    from tenuto.studies.distil import Distilled, Measured

MOST = 100_000
"""Rows of a file that are learned or asked, at most."""
_WIDTHS = re.compile(r"\d+(-\d+)*")


@click.command()
@options.home
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where the model goes."
)
@click.option("--distil", "widths", metavar="WIDTHS", help="Hidden widths of a smaller model: 64, or 64-32.")
@click.option("--rows", metavar="FILE", help="Labelled rows to distil from, beside the remembered ones.")
@click.option("--holdout", metavar="FILE", help="Labelled rows that were never learned, to measure on.")
@click.option(
    "--epochs", type=click.IntRange(1), default=100, show_default=True, help="Passes over the rows."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Key of the small model's draws.")
@options.stream
@options.as_json
@click.pass_context
def command(
    context: click.Context,
    home: Path,
    out: Path,
    widths: str | None,
    rows: str | None,
    holdout: str | None,
    epochs: int,
    seed: int,
    as_json: bool,
) -> int:
    """Write the model as a .safetensors file.

    With --distil a multilayer perceptron with these hidden widths is taught what the home's model answers
    to the rows it remembers; both are measured on the rows held out. The home stays as it is, and
    `tenuto learn --weights` begins a new one from the file.
    """
    if widths is None and (rows is not None or holdout is not None):
        raise click.UsageError("--rows and --holdout are for --distil WIDTHS")
    if widths is not None and not _WIDTHS.fullmatch(widths):
        raise click.UsageError(f"--distil {widths!r} are no widths; write --distil 64, or --distil 64-32")
    if not out.parent.is_dir():
        raise click.UsageError(f"--out {out}: there is no folder {out.parent}")
    learned, asked = (None if f is None else options.opened(context, f) for f in (rows, holdout))
    with Home.view(home) as view:
        from tenuto.cli.shared.learning import batch, maker, settle
        from tenuto.session import recovery

        settle()
        learner = recovery.recover(view, maker(view))[0].learner
        model = str(view.config["model"])
    if learner.shape is None:
        raise NothingLearned(f"the model of {home} has learned nothing yet; run tenuto learn first")
    from tenuto.studies.distil import distil, packed

    if widths is None:
        data = packed(learner, shape=learner.shape, model=_named(learner, model))
        out.write_bytes(data)
        told = {"out": str(out), "bytes": len(data)}
        emit(told) if as_json else facts({"model": f"{out}, {amount(len(data))}"})
        return Exit.OK
    made = distil(
        learner,
        tuple(map(int, widths.split("-"))),
        rows=None if learned is None else batch(learned, MOST),
        test=None if asked is None else batch(asked, MOST),
        epochs=epochs,
        seed=seed,
    )
    out.write_bytes(made.file)
    if as_json:
        emit({"out": str(out), "model": f"mlp:{widths}", **_plain(made)})
    else:
        _say(made, out, f"mlp:{widths}")
    return Exit.OK


def _named(learner: Learner, model: str) -> str:
    """The model by a name that says its widths."""
    hidden = "-".join(map(str, learner.config.hidden))
    return f"mlp:{hidden}" if model == "mlp" else model


def _plain(made: Distilled) -> dict[str, object]:
    names = ("agreement", "rows", "held", "seen")
    told = {name: getattr(made, name) for name in names} | {"classes": list(made.student.task.classes)}
    return {"before": asdict(made.before), "after": asdict(made.after), **told}


def _say(made: Distilled, out: Path, model: str) -> None:
    """Both models, for a person."""
    classes = ",".join(map(str, made.student.task.classes))
    came = "which the large model may have learned" if made.seen else "as given"
    lines = {
        "large": _line(made.before),
        "small": _line(made.after),
        "agreement": f"{percent(made.agreement)} of the rows held out answered alike",
        "rows": f"{plural(made.rows, 'row')} learned; {plural(made.held, 'row')} held out, {came}",
        "model": str(out),
        "go on": f"tenuto learn STREAM --home DIR --model {model} --weights {out}"
        + (f" --classes {shlex.quote(classes)}" if classes else " --task regression"),
    }
    if made.agreement is None:
        del lines["agreement"]
    facts(lines)


def _line(one: Measured) -> str:
    quality = (
        f"{percent(one.accuracy)} right"
        if one.squared_error is None
        else f"{one.squared_error:.4g} mean squared error"
    )
    return f"{quality}, {one.parameters:,} parameters, {amount(one.bytes)}"
