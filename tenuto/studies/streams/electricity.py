"""Elec2 (Harries 1999): half-hours of an electricity market, in their order, a row at a time.

Price, demand and transfer; the label says whether the price rose above its mean of the last day, which the
half-hour before tells better than most learners can.
"""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import torch

from tenuto.errors import StreamError
from tenuto.studies.streams.moving import Moving

FILE = "electricity.csv.gz"


def electricity(folder: Path) -> Moving:
    """The stream of a folder's electricity.csv.gz, whose last column is the label.

    Raises:
        StreamError: the file is missing, or a field is no number.
    """
    path = folder / FILE
    if not path.is_file():
        raise StreamError(f"{folder} holds no {FILE}; name the folder that holds electricity/{FILE}")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            values = [[float(value) for value in row] for row in list(csv.reader(file))[1:]]
        found = torch.tensor(values)
    except (OSError, ValueError) as error:
        raise StreamError(f"{path} is not a table of numbers under one line of names: {error}") from error
    batches = list(zip(found[:, None, :-1], found[:, -1:].long(), strict=True))
    return Moving(batches=batches, classes=2)
