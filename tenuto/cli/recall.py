"""tenuto recall: which remembered rows are like these, told by the ids of the entries they came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.asking import Answer, answered, asked
from tenuto.errors import NothingLearned
from tenuto.store.home import Home

if TYPE_CHECKING:
    from tenuto.remembering import By
    from tenuto.session.fold import Fold
    from tenuto.store.journal import Journal
    from tenuto.streams import Stream


@click.command()
@click.argument("rows", metavar="INPUT")
@options.home
@click.option("--count", default=5, show_default=True, type=click.IntRange(min=1), help="Rows for each.")
@click.option(
    "--by",
    type=click.Choice(["features", "inputs"]),
    default="features",
    show_default=True,
    help="Alike to the model, or as they are.",
)
@options.stream
@options.as_json
@click.pass_context
def command(context: click.Context, rows: str, home: Path, count: int, by: By, as_json: bool) -> int:
    """Find the remembered rows that are most like those of INPUT.

    INPUT is a file, a folder, or - for standard input; targets may be absent. Writes one JSON line per
    row: its id, and under `episodes` the id of each row found and its cosine. A row that cannot be read
    gets its error instead, and the exit code is 1.
    """
    stream = options.opened(context, rows, labelled=False)
    with Home.view(home) as view:
        from tenuto.cli.shared.learning import maker, settle
        from tenuto.session import recovery

        settle()
        fold = recovery.recover(view, maker(view))[0]
        if fold.learner.shape is None:
            raise NothingLearned(f"the model of {home} has learned nothing yet; run tenuto learn first")
        return answered(_answers(fold, view.journal, stream, count, by), "recalled", as_json)


def _answers(fold: Fold, journal: Journal, stream: Stream, count: int, by: By) -> Iterator[Answer]:
    import numpy as np

    from tenuto.session.provenance import recalled

    for chunk in stream.chunks():
        answers, open_ones, inputs = asked(fold.learner, chunk)
        found = recalled(fold, journal, np.stack(inputs), count, by) if inputs else []
        for answer, episodes in zip(open_ones, found, strict=True):
            answer["episodes"] = [{"id": one.id, "similarity": one.similarity} for one in episodes]
        yield from answers
