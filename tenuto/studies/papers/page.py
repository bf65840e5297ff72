"""The page of the tables: for each protocol a picture and a table, in one HTML file without a script.

In the picture a dot is our mean, the bar behind it its 95 % interval, faint dots the seeds; the upright
stroke is the paper's figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tenuto.evaluation.markup import Markup, tag
from tenuto.evaluation.scale import Axis, axis
from tenuto.evaluation.style import css, hue
from tenuto.evaluation.svg import LETTER, circle, group, line, picture, text
from tenuto.studies.papers.protocols import PROTOCOLS
from tenuto.studies.papers.table import HEAD, Entry, spell

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_WIDTH, _RIGHT, _ROW, _TOP, _FOOT = 1000.0, 24.0, 22.0, 12.0, 42.0
_SHEET = (
    ".paper{stroke:var(--ink);stroke-width:2}.listing td:nth-child(n+2):nth-child(-n+7){text-align:right}"
)


def render(entries: Sequence[Entry], facts: Mapping[str, str]) -> str:
    """The whole page as text, to be written as UTF-8.

    Args:
        entries: the lines to show, those of a protocol behind one another.
        facts: how to repeat it, by name.
    """
    sections = []
    for name in dict.fromkeys(entry.line.protocol for entry in entries):
        sections.append(_section(name, [entry for entry in entries if entry.line.protocol == name]))
    title = "The tables of the papers, run again"
    head = tag(
        "head",
        {},
        tag("meta", {"charset": "utf-8"}),
        tag("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        tag("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        tag("meta", {"name": "color-scheme", "content": "light dark"}),
        tag("title", {}, title),
        tag("style", {}, Markup(css() + _SHEET)),
    )
    told = "Average accuracy in percent after the last context, over all contexts; ± is half the 95 % "
    told += "Student-t interval of the mean over seeds. In the pictures the upright stroke is the paper's."
    header = tag("header", {}, tag("h1", {}, title), tag("p", {"class": "subtitle"}, told))
    body = tag("body", {}, header, tag("main", {}, *sections, _facts(facts)))
    return f"<!doctype html>\n{tag('html', {'lang': 'en'}, head, body)}\n"


def _section(name: str, entries: Sequence[Entry]) -> Markup:
    protocol = PROTOCOLS[name]
    drawn = [entry for entry in entries if entry.ours is not None or entry.line.paper is not None]
    return tag(
        "section",
        {},
        tag("h2", {}, protocol.title),
        tag("p", {"class": "note"}, protocol.told),
        tag("p", {"class": "note"}, f"The paper's figures: {protocol.paper}."),
        tag("div", {"class": "wide"}, _picture(protocol.title, drawn)),
        tag("div", {"class": "wide"}, _table(entries)),
    )


def _picture(title: str, entries: Sequence[Entry]) -> Markup:
    names = [_name(entry) for entry in entries]
    methods = list(dict.fromkeys(entry.line.method for entry in entries))
    held = [a for entry in entries for a in entry.accuracies]
    held += [entry.line.paper for entry in entries if entry.line.paper is not None]
    left = 32 + 1.1 * LETTER * max(map(len, names))
    across = axis(values=held, start=left, end=_WIDTH - _RIGHT, count=10)
    bottom = _TOP + _ROW * len(entries)
    rows = []
    for number, (entry, name) in enumerate(zip(entries, names, strict=True)):
        look = hue(methods.index(entry.line.method))
        rows.append(_row(entry, name, look, across, _TOP + (number + 0.5) * _ROW))
    label = f"{title}: ours and the paper's average accuracy, %"
    return picture(_WIDTH, bottom + _FOOT, label, _grid(across, bottom), *rows)


def _grid(across: Axis, bottom: float) -> Markup:
    parts = []
    for tick in across.ticks:
        x = across.at(tick)
        parts += [line(x, _TOP, x, bottom, "grid"), text(x, bottom + 18, across.spell(tick), "soft middle")]
    middle = (across.start + across.end) / 2
    return group(*parts, text(middle, bottom + 38, "average accuracy at the end, %", "soft middle"))


def _row(entry: Entry, name: str, look: str, across: Axis, y: float) -> Markup:
    ours, paper = entry.ours, entry.line.paper
    parts = [text(across.start - 14, y + 4, name, "end")]
    if ours is not None:
        half = ours.half_width or 0.0
        ends = (across.at(max(across.low, ours.mean - half)), across.at(min(across.high, ours.mean + half)))
        parts.append(line(ends[0], y, ends[1], y, "whisker"))
        parts += [circle(across.at(a), y, 2.5, "seed") for a in entry.accuracies]
        parts.append(circle(across.at(ours.mean), y, 4.5, "dot"))
    if paper is not None:
        parts.append(line(across.at(paper), y - 8, across.at(paper), y + 8, "paper"))
    told = f"{name}: ours {spell(ours)}" + ("" if paper is None else f", the paper's {paper:.2f}")
    return group(*parts, look=look, title=told)


def _name(entry: Entry) -> str:
    return entry.line.method + ("" if entry.line.buffer is None else f" {entry.line.buffer}")


def _table(entries: Sequence[Entry]) -> Markup:
    head = tag("tr", {}, *(tag("th", {"scope": "col"}, name) for name in HEAD))
    rows = []
    for entry in entries:
        first, *rest = entry.cells()
        cells = [tag("th", {"scope": "row"}, first), *(tag("td", {}, cell) for cell in rest)]
        rows.append(tag("tr", {}, *cells))
    return tag("table", {"class": "listing"}, tag("thead", {}, head), tag("tbody", {}, *rows))


def _facts(facts: Mapping[str, str]) -> Markup:
    rows = [tag("tr", {}, tag("th", {"scope": "row"}, k), tag("td", {}, told)) for k, told in facts.items()]
    table = tag("table", {"class": "facts"}, tag("tbody", {}, *rows))
    return tag("section", {}, tag("h2", {}, "How to repeat it"), table)
