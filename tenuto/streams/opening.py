"""Which stream reads a source: chosen by the name of the file, by its folder, or by what is asked for."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tenuto.errors import ConfigError, StreamError
from tenuto.streams.source import Fields, Source, Stream, unreadable

if TYPE_CHECKING:
    from tenuto.streams.talk import Encode

FORMATS = {
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv",),
    "tsv": (".tsv",),
    "npz": (".npz",),
    "idx": ("-idx3-ubyte", ".idx3-ubyte"),
}
"""The formats and how their files are named; all but npz may be gzipped (.gz)."""


def open_stream(
    source: str | Path,
    *,
    format: str | None = None,
    target: str | None = None,
    input: str | None = None,
    id_field: str | None = None,
    domain_field: str | None = None,
    name: str | None = None,
    labelled: bool = True,
    pulse: float | None = None,
    encode: Encode | None = None,
) -> Stream:
    """A stream of the rows of a file, a folder or standard input.

    Args:
        source: a path, or "-" for standard input.
        format: one of FORMATS; None: by the name of the file, and JSON lines for standard input.
        target: the member, column or array that holds the targets.
        input: the one that holds the inputs; for tables, the feature columns joined by commas.
        id_field: the one that holds the ids.
        domain_field: the one that holds the domains.
        name: what to call the source; None: the name of the file.
        labelled: False lets targets be absent, as for rows to predict.
        pulse: seconds after which a silent pipe yields a chunk without rows, so that whoever reads can do
            something else; None: it waits.
        encode: messages as rows, as a language model's `Speech.row` does it; JSON lines then hold talk.

    Raises:
        StreamError: there is no such file, it may not be read, or its format is unknown.
        ConfigError: an option is unknown or does not go with the format.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "train.jsonl"
    >>> path.write_text('{"input": [0.5, 1.0], "target": "cat"}\\n{"input": [2.0, 0.0]}\\n')
    61
    >>> chunk = next(open_stream(path).chunks())
    >>> chunk.rows[0].target, str(chunk.rows[1])[:62]
    ('cat', 'train.jsonl line 2 (row 1): Object missing required field `tar')
    """
    fields = Fields(input=input, target=target, id=id_field, domain=domain_field, labelled=labelled)
    if format is not None and format not in FORMATS:
        raise ConfigError(f"format {format!r} is unknown; {_known()}")
    if encode is not None:
        return _talk(source, name, format, encode, pulse)
    if str(source) == "-":
        return _open(None, name or "stdin", format or "jsonl", fields, pulse)
    path = Path(source)
    _allowed(path)
    if path.is_dir():
        return _folder(path, name, format, fields)
    found = format or _guess(path)
    if found is None:
        raise StreamError(f"the format of {path} is unknown; {_known()}: rename it, or give --format")
    return _open(path, name or path.name, found, fields, pulse)


def _talk(
    source: str | Path, name: str | None, format: str | None, encode: Encode, pulse: float | None
) -> Source:
    from tenuto.streams.lines import LineStream
    from tenuto.streams.talk import Talk

    if format not in (None, "jsonl"):
        raise ConfigError(f"talk is read from JSON lines, not from {format}")
    path = None if str(source) == "-" else Path(source)
    if path is None:
        return LineStream(name or "stdin", None, Talk(encode), pulse)
    _allowed(path)
    if path.is_dir():
        raise StreamError(f"{path} is a folder; name a file of JSON lines")
    return LineStream(name or path.name, path, Talk(encode), pulse)


def _known() -> str:
    return "known are " + ", ".join(f"{name} ({', '.join(ends)})" for name, ends in FORMATS.items())


def _guess(path: Path) -> str | None:
    name = path.name.lower().removesuffix(".gz")
    for format, ends in FORMATS.items():
        if name.endswith(ends):
            return format
    return "idx" if "idx3" in name else None


def _open(path: Path | None, name: str, format: str, fields: Fields, pulse: float | None = None) -> Source:
    match format:
        case "jsonl":
            from tenuto.streams.jsonl import JsonLines
            from tenuto.streams.lines import LineStream

            return LineStream(name, path, JsonLines(fields), pulse)
        case "csv" | "tsv":
            from tenuto.streams.lines import LineStream
            from tenuto.streams.table import Table

            return LineStream(name, path, Table(fields, "," if format == "csv" else "\t"), pulse)
    if path is None:
        raise ConfigError(f"{format} cannot be read from standard input; name a file")
    if format == "npz":
        return _npz(path, name, fields)
    return _idx(path, name, fields)


def _npz(path: Path, name: str, fields: Fields) -> Source:
    from tenuto.streams import npz
    from tenuto.streams.arrays import ArrayStream

    return ArrayStream(name, [path], lambda: npz.load(path, fields))


def _idx(path: Path, name: str, fields: Fields) -> Source:
    from tenuto.streams import idx
    from tenuto.streams.arrays import ArrayStream

    if (fields.input, fields.target, fields.id, fields.domain) != (None,) * 4:
        raise ConfigError(f"{path} is IDX, which names no fields; leave out the options that name some")
    beside = idx.labels(path)
    if beside is None and fields.labelled:
        raise StreamError(
            f"{path} has no labels beside it; put them there, named as train-labels-idx1-ubyte is for "
            "train-images-idx3-ubyte"
        )
    files = [path] if beside is None else [path, beside]
    return ArrayStream(name, files, lambda: idx.load(path, beside))


def _folder(path: Path, name: str | None, format: str | None, fields: Fields) -> Stream:
    from tenuto.streams.folder import FolderStream, files

    found = [(file, format or _guess(file)) for file in files(path)]
    images = [file for file, kind in found if kind == "idx" and file.parent == path]
    if images:
        train = [file for file in images if file.name.startswith("train")]
        if len(images) > 1 and len(train) != 1:
            names = ", ".join(file.name for file in images)
            raise StreamError(f"{path} holds several IDX files; name one of them: {names}")
        image = (train or images)[0]
        return _open(image, name or image.name, "idx", fields)
    prefix = f"{name}/" if name else ""
    parts = tuple(
        _open(file, prefix + file.relative_to(path).as_posix(), kind, fields) for file, kind in found if kind
    )
    if not parts:
        raise StreamError(f"{path} holds no file of a known format; {_known()}")
    return FolderStream(name or path.name, parts)


def _allowed(path: Path) -> None:
    """Raises StreamError where `path` is not there or may not be read."""
    try:
        if stat.S_ISREG(path.stat().st_mode):
            path.open("rb").close()
    except OSError as error:
        raise unreadable(path, error) from error
