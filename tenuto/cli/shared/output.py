"""How a verb writes: facts under each other, tables, one JSON document, errors on stderr."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click


def emit(document: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def line(document: Any) -> None:
    """One line of JSON on stdout."""
    click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))


def complain(message: str) -> None:
    """One line on stderr."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)


def write(text: str, *, bold: bool = False, dim: bool = False) -> None:
    """One line on stdout."""
    click.echo(click.style(text, bold=bold, dim=dim) if bold or dim else text)


def facts(told: Mapping[str, str | Sequence[str]]) -> None:
    """Names and what is said of them, in two columns; more lines stand under the first."""
    width = max(map(len, told), default=0)
    for name, said in told.items():
        lines = [said] if isinstance(said, str) else [*said]
        for i, line in enumerate(lines):
            click.echo(f"{click.style((name if i == 0 else '').ljust(width), dim=True)}  {line}".rstrip())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns under their heads as lines of text.

    >>> table(["n", "reason"], [["1", "no target"]])
    ['n  reason', '1  no target']
    """
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def percent(share: float | None) -> str:
    """A share as a person reads it.

    >>> percent(0.8312), percent(None)
    ('83.1 %', '–')
    """
    return "–" if share is None else f"{100 * share:.1f} %"


def amount(size: float) -> str:
    """Bytes as a person reads them.

    >>> amount(999), amount(3_400_000)
    ('999 B', '3.4 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def moment(at: float) -> str:
    """A time in Unix seconds: the local date, and how long ago.

    >>> moment(time.time() - 130)[-15:]
    '(2 minutes ago)'
    """
    return f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(at))} ({_ago(time.time() - at)})"


def plural(count: int, one: str) -> str:
    """A count of things.

    >>> plural(1, "row"), plural(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def short(text: str, width: int = 100) -> str:
    """A text cut to a width.

    >>> short("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= width else text[: width - 1] + "…"


def _ago(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return f"{plural(int(seconds // size), unit)} ago"
    return "just now"
