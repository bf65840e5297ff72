"""Asking a home's model about the rows of a stream: each gets an answer in its place, or its error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import complain, emit, line, plural
from tenuto.errors import ExampleError

if TYPE_CHECKING:
    from tenuto.learner import Learner
    from tenuto.streams import Chunk
    from tenuto.types import OnlineExample

Answer = dict[str, Any]


def asked(learner: Learner, chunk: Chunk) -> tuple[list[Answer], list[Answer], list[Any]]:
    """An answer begun for each row of a chunk, with its id or its error.

    Returns:
        All of them in order; those among them that can be asked; and the inputs of these.
    """
    answers: list[Answer] = []
    open_ones: list[Answer] = []
    inputs: list[Any] = []
    for offset, row in enumerate(chunk.rows, start=chunk.offset):
        name = f"{chunk.source}:{offset}"
        try:
            if isinstance(row, ExampleError):
                raise row
            inputs.append(_input(learner, row))
            answers.append({"id": row.id or name})
            open_ones.append(answers[-1])
        except ExampleError as error:
            answers.append({"id": name, "error": str(error)})
    return answers, open_ones, inputs


def answered(answers: Iterable[Answer], name: str, as_json: bool) -> int:
    """Write answers, a line each, or one document with this name; the exit code: 1 where one is an error."""
    told, faults = [], 0
    for answer in answers:
        faults += "error" in answer
        if as_json:
            told.append(answer)
        else:
            line(answer)
    if as_json:
        emit({name: told, "errors": faults})
    if faults:
        complain(f"{plural(faults, 'row')} could not be answered; each says why in its place")
    return Exit.ERROR if faults else Exit.OK


def _input(learner: Learner, row: OnlineExample) -> Any:
    """The input of a row that this learner can be asked about."""
    import numpy as np

    from tenuto.streams.values import as_array

    input = as_array(row.input)
    if input.shape != learner.shape:
        raise ExampleError(f"input has shape {input.shape}; this model learned rows of shape {learner.shape}")
    if not np.isfinite(input).all():
        raise ExampleError("input holds NaN or infinity; impute it, or leave the row out")
    return input
