"""Markup that cannot be injected: every text and attribute is escaped where the element is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

Attributes = Mapping[str, str | float]

_VOID = frozenset({"br", "col", "hr", "meta"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is markup already and is not escaped again. Only `tag` and `join` make it."""

    __slots__ = ()


def tag(name: str, attributes: Attributes, *children: str) -> Markup:
    """An element; children that are no `Markup` are escaped, characters no document may hold become U+FFFD.

    >>> tag("p", {"class": "a"}, "1 < 2", tag("b", {}, "&"))
    '<p class="a">1 &lt; 2<b>&amp;</b></p>'
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no element's name")
    written = "".join(f' {key}="{_clean(_plain(value))}"' for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Markup:
    """Parts side by side, escaped where they are no `Markup`."""
    return Markup("".join(part if isinstance(part, Markup) else _clean(part) for part in parts))


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def _clean(text: str) -> str:
    return escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text))
