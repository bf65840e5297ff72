"""The few shapes the pictures are made of, placed in px; looks are classes of the style sheet."""

from __future__ import annotations

from tenuto.evaluation.markup import Attributes, Markup, tag

LETTER = 6.4
"""About how wide a letter of the pictures' 12 px text is."""


def picture(width: float, height: float, label: str, *parts: Markup, fixed: bool = False) -> Markup:
    """An inline SVG with an accessible label; `fixed` keeps its size, else it fills the line."""
    frame: Attributes = {"role": "img", "aria-label": label, "viewBox": f"0 0 {width:.0f} {height:.0f}"}
    size: Attributes = {"width": width, "height": height} if fixed else {}
    return tag("svg", {**frame, **size}, *parts)


def text(x: float, y: float, words: str, look: str = "", *, tilted: bool = False) -> Markup:
    """Words on the baseline y; `tilted` lets them rise to the right by 45 degrees."""
    turn: Attributes = {"transform": f"rotate(-45 {x:.1f} {y:.1f})"} if tilted else {}
    return tag("text", {"class": look, "x": x, "y": y, **turn}, words)


def line(x1: float, y1: float, x2: float, y2: float, look: str) -> Markup:
    """A straight stroke."""
    return tag("line", {"class": look, "x1": x1, "y1": y1, "x2": x2, "y2": y2})


def rect(x: float, y: float, width: float, height: float, look: str, *, opacity: float = 1) -> Markup:
    """A box with slightly rounded corners."""
    shade: Attributes = {"fill-opacity": opacity} if opacity < 1 else {}
    return tag("rect", {"class": look, "x": x, "y": y, "width": width, "height": height, "rx": 2, **shade})


def circle(x: float, y: float, radius: float, look: str) -> Markup:
    """A filled dot."""
    return tag("circle", {"class": look, "cx": x, "cy": y, "r": radius})


def group(*parts: Markup, look: str = "", title: str = "") -> Markup:
    """Parts under one look; a `title` is what a pointer resting on them shows."""
    told = (tag("title", {}, title),) if title else ()
    return tag("g", {"class": look} if look else {}, *told, *parts)


def clip(words: str, length: int) -> str:
    """Words cut to `length` letters, the last an ellipsis where any are missing.

    >>> clip("permutation", 5)
    'perm…'
    """
    return words if len(words) <= length else words[: length - 1] + "…"
