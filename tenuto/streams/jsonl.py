"""JSON lines: one object per line, with an input, a target and what else is known of the row.

    {"input": [0.5, 1.0], "target": "cat", "id": "a7", "domain": "day", "weight": 2.0}

A row that names itself may lack its target, or all but its target, which come later under the same id.
Recognised beside them: level, source, principal, derived_from. Other members are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from tenuto.errors import ConfigError, ExampleError, MalformedRow
from tenuto.streams.lines import Parse, Torn
from tenuto.streams.source import Fields
from tenuto.streams.values import as_array
from tenuto.types import OnlineExample

_Target = bool | int | float | str | list[float] | None
_Name = int | str | None
MISSING = "Object missing"
"""How the decoder's message begins where a member is not there."""


@dataclass(frozen=True, slots=True)
class JsonLines:
    """The dialect of JSON lines.

    >>> parse = JsonLines(Fields(target="label")).parser("a.jsonl", b"")
    >>> parse(b'{"input": [1, 2], "label": 3}').input
    array([1, 2])
    """

    fields: Fields
    header: bool = False

    def parser(self, source: str, header: bytes) -> Parse:
        """Reads one object per line; there is no header."""
        fields = self.fields
        decode = msgspec.json.Decoder(_shape(fields)).decode
        lenient = msgspec.json.Decoder(_shape(fields, lenient=True)).decode

        def parse(line: bytes) -> OnlineExample:
            try:
                return _example(decode(line), source)
            except (msgspec.ValidationError, ExampleError) as error:
                raise MalformedRow(_remedied(str(error), fields), rest(line, error)) from error
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Torn(_remedied(str(error), fields, line)) from error

        def rest(line: bytes, error: Exception) -> OnlineExample | None:
            """What there is of a named row that lacks a part."""
            if not str(error).startswith(MISSING):
                return None
            try:
                row = _example(lenient(line), source)
            except (msgspec.ValidationError, ExampleError):
                return None
            return row if row.id is not None else None

        return parse


def _example(row: Any, source: str) -> OnlineExample:
    """A line's struct as an example."""
    return OnlineExample(
        input=None if row.input is msgspec.UNSET else as_array(row.input),
        target=int(row.target) if row.target is True or row.target is False else row.target,
        id=str(row.id) if isinstance(row.id, int) else row.id,
        domain=str(row.domain) if isinstance(row.domain, int) else row.domain,
        level=row.level,
        weight=row.weight,
        source=row.source or source,
        principal=row.principal,
        derived_from=row.derived_from,
    )


def _shape(fields: Fields, *, lenient: bool = False) -> Any:
    """The struct that a line is decoded into; `lenient`: input and target may be missing."""
    names = {"input": fields.input, "target": fields.target, "id": fields.id, "domain": fields.domain}
    labelled = fields.labelled and not lenient
    try:
        return msgspec.defstruct(
            "Row",
            [
                ("input", Any, msgspec.UNSET) if lenient else ("input", Any),
                ("target", _Target) if labelled else ("target", _Target, None),
                ("id", _Name, None),
                ("domain", _Name, None),
                ("level", float | None, None),
                ("weight", float, 1.0),
                ("source", str | None, None),
                ("principal", str | None, None),
                ("derived_from", tuple[str, ...], ()),
            ],
            rename={ours: theirs for ours, theirs in names.items() if theirs is not None},
            kw_only=True,
        )
    except ValueError as error:
        raise ConfigError(
            f"two parts of a row have one field: {error}; give each a field of its own"
        ) from error


def _remedied(fault: str, fields: Fields, line: bytes = b"") -> str:
    if fault.startswith(MISSING):
        option = "input" if f"`{fields.input or 'input'}`" in fault else "target"
        return f"{fault}; write it, or name another field with --{option}"
    if b"NaN" in line or b"Infinity" in line:
        return f"{fault}; JSON has no NaN or Infinity: write a number, or leave the row out"
    return fault if ";" in fault else f"{fault}; correct the row"
