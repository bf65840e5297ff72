"""tenuto predict: what a home's model answers, beside whoever writes it."""

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
    from tenuto.learner import Learner
    from tenuto.streams import Chunk, Stream


@click.command()
@click.argument("rows", metavar="INPUT")
@options.home
@options.stream
@options.as_json
@click.pass_context
def command(context: click.Context, rows: str, home: Path, as_json: bool) -> int:
    """Answer the rows of INPUT.

    INPUT is a file, a folder, or - for standard input; targets may be absent. Writes one JSON line per
    row: its id, the label, and each class's probability. A row that cannot be read gets its error
    instead, and the exit code is 1.
    """
    stream = options.opened(context, rows, labelled=False)
    with Home.view(home) as view:
        from tenuto.cli.shared.learning import maker, settle
        from tenuto.session import recovery

        settle()
        learner = recovery.recover(view, maker(view))[0].learner
    if learner.shape is None:
        raise NothingLearned(f"the model of {home} has learned nothing yet; run tenuto learn first")
    return answered(_answers(learner, stream), "predictions", as_json)


def _answers(learner: Learner, stream: Stream) -> Iterator[Answer]:
    for chunk in stream.chunks():
        yield from _chunk(learner, chunk)


def _chunk(learner: Learner, chunk: Chunk) -> list[Answer]:
    """An answer for each row of a chunk, in order; those that can be asked are asked together."""
    import numpy as np

    answers, open_ones, inputs = asked(learner, chunk)
    if not inputs:
        return answers
    found = learner.predict(np.stack(inputs))
    shares = None if found.probabilities is None else found.probabilities.tolist()
    for i, answer in enumerate(open_ones):
        answer["label"] = found.labels[i]
        if shares is not None:
            answer["probability"] = max(shares[i])
            answer["probabilities"] = dict(zip(map(str, found.classes), shares[i], strict=True))
    return answers
