"""Tables: CSV and TSV with a header, one row per line, numbers as features.

The target is the column named by the option, else the first of target, label, class and y, else the
last column. The columns id, domain, weight and principal are what they say; every other column is a
float32 feature. A cell may be quoted but not hold a line break.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenuto.errors import MalformedRow, StreamError
from tenuto.streams.lines import Parse, Torn
from tenuto.streams.source import Fields
from tenuto.types import OnlineExample

TARGETS = ("target", "label", "class", "y")

_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the parts of a row stand; None where a table has no such column."""

    features: tuple[int, ...]
    target: int | None
    id: int | None
    domain: int | None
    weight: int | None
    principal: int | None


@dataclass(frozen=True, slots=True)
class Table:
    """The dialect of tables.

    >>> example = Table(Fields()).parser("a.csv", b"x1,x2,class")(b"0.5,1,cat")
    >>> example.input, example.target
    (array([0.5, 1. ], dtype=float32), 'cat')
    """

    fields: Fields
    delimiter: str = ","
    header: bool = True

    def parser(self, source: str, header: bytes) -> Parse:
        """Reads one line under this header. Raises StreamError where the header is none."""
        try:
            names = [cell.strip() for cell in self._cells(header)]
        except Torn as error:
            raise StreamError(f"{source} has a header that cannot be read: {error}") from error
        columns = _columns(source, names, self.fields)

        def parse(line: bytes) -> OnlineExample:
            cells = self._cells(line)
            if len(cells) != len(names):
                kind = Torn if len(cells) < len(names) else MalformedRow
                raise kind(
                    f"{len(cells)} cells where the header names {len(names)}; "
                    "give each column a cell, and quote cells that hold the separator"
                )
            return OnlineExample(
                input=_features([_number(cells, names, index) for index in columns.features]),
                target=None if columns.target is None else _target(cells[columns.target]),
                id=_text(cells, columns.id),
                domain=_text(cells, columns.domain),
                weight=1.0 if columns.weight is None else _number(cells, names, columns.weight),
                source=source,
                principal=_text(cells, columns.principal),
            )

        return parse

    def _cells(self, line: bytes) -> list[str]:
        try:
            text = line.decode().rstrip("\r")
            if '"' not in text:
                return text.split(self.delimiter)
            return next(csv.reader((text,), delimiter=self.delimiter, strict=True))
        except UnicodeDecodeError as error:
            raise Torn(f"not UTF-8 text ({error}); save the file as UTF-8") from error
        except csv.Error as error:
            raise Torn(f"{error}; close every quote on its line") from error


def _columns(source: str, names: Sequence[str], fields: Fields) -> Columns:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise StreamError(f"{source} has two columns {twice!r}; rename one")
    if all(map(_DECIMAL.fullmatch, names)):
        raise StreamError(
            f"{source} has no header but numbers in its first line; put one line of names first"
        )

    def find(name: str) -> int:
        if name not in names:
            raise StreamError(f"{source} has no column {name!r}; its columns are {', '.join(names)}")
        return names.index(name)

    def place(option: str | None, *defaults: str) -> int | None:
        if option is not None:
            return find(option)
        return next((find(name) for name in defaults if name in names and name not in inputs), None)

    inputs = [] if fields.input is None else [name.strip() for name in fields.input.split(",")]
    target = place(fields.target, *TARGETS)
    known = [
        place(fields.id, "id"),
        place(fields.domain, "domain"),
        place(None, "weight"),
        place(None, "principal"),
    ]
    free = [index for index in range(len(names)) if index not in (target, *known)]
    if target is None and fields.labelled and free:
        target = free.pop()
    if inputs:
        free = [find(name) for name in inputs]
    if not free:
        raise StreamError(
            f"{source} has no feature column in its header {', '.join(names)!r}; "
            "are its cells separated by another character?"
        )
    id, domain, weight, principal = (None if index == target else index for index in known)
    return Columns(tuple(free), target, id, domain, weight, principal)


def _features(values: list[float]) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.array(values, np.float32)


def _number(cells: Sequence[str], names: Sequence[str], index: int) -> float:
    try:
        return float(cells[index])
    except ValueError as error:
        raise MalformedRow(
            f"{cells[index]!r} in column {names[index]!r} is not a number; "
            "write a number, or leave the column out"
        ) from error


def _text(cells: Sequence[str], index: int | None) -> str | None:
    return None if index is None else cells[index].strip() or None


def _target(cell: str) -> int | float | str | None:
    """A whole number is a label, a decimal one a number, other text a label, an empty cell unknown."""
    cell = cell.strip()
    if _WHOLE.fullmatch(cell):
        return int(cell) if len(cell) < 20 else cell
    if _DECIMAL.fullmatch(cell):
        return float(cell)
    return cell or None
