"""A report as one HTML file: no script, no network, no font but the reader's own.

It carries its own Content-Security-Policy, `default-src 'none'; style-src 'unsafe-inline'`, and needs nothing
else to be read. The same report gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from tenuto.evaluation.chart import chart, swatch
from tenuto.evaluation.dots import dots
from tenuto.evaluation.markup import Markup, join, tag
from tenuto.evaluation.report import Listing, Proof, Report
from tenuto.evaluation.style import css
from tenuto.evaluation.table import MEASURES, Measure, Row, columns, spell, summarise

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(report: Report) -> str:
    """The whole page as text, to be written as UTF-8.

    >>> page = render(Report(title="Tea & <b>cake</b>"))
    >>> page.startswith("<!doctype html>"), "Tea &amp; &lt;b&gt;cake&lt;/b&gt;" in page
    (True, True)
    """
    sections = (
        *(_summary(report), _maps(report), _charts(report), _proofs(report.proofs)),
        *(_listing(listing) for listing in report.listings),
        _facts(report),
    )
    body = tag("body", {}, _header(report), tag("main", {}, *(s for s in sections if s)), _footer())
    return f"<!doctype html>\n{tag('html', {'lang': 'en'}, _head(report), body)}\n"


def _head(report: Report) -> Markup:
    return tag(
        "head",
        {},
        tag("meta", {"charset": "utf-8"}),
        tag("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        tag("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        tag("meta", {"name": "color-scheme", "content": "light dark"}),
        tag("title", {}, report.title),
        tag("style", {}, Markup(css())),
    )


def _header(report: Report) -> Markup:
    parts = [tag("h1", {}, report.title)]
    if report.subtitle:
        parts.append(tag("p", {"class": "subtitle"}, report.subtitle))
    if told := _headline(report):
        parts.append(tag("p", {"class": "headline"}, told))
    if report.proofs:
        parts.append(_verdict(report.proofs))
    return tag("header", {}, *parts)


def _headline(report: Report) -> str:
    """The result in one sentence: the best method beside the bound."""
    measure, rows = MEASURES[0], summarise(report)
    reached = [row for row in rows if not row["bound"] and row.get(measure.name) is not None]
    if not reached:
        return ""
    best = max(reached, key=lambda row: float(row[measure.name] or 0))
    told = f"{best['method']} ends at {_figure(best, measure)} average accuracy"
    return told + "".join(f"; joint training reaches {_figure(r, measure)}" for r in rows if r["bound"]) + "."


def _verdict(proofs: Sequence[Proof]) -> Markup:
    failed = [proof.title for proof in proofs if not proof.holds]
    if failed:
        verb = "fails" if len(failed) == 1 else "fail"
        told = f"✕ {len(failed)} of {len(proofs)} proofs {verb}: {'; '.join(failed)}"
        return tag("p", {"class": "verdict fails"}, told)
    return tag("p", {"class": "verdict holds"}, f"✓ {len(proofs)} of {len(proofs)} proofs hold")


def _figure(row: Row, measure: Measure) -> str:
    mean, half = spell(row, measure)
    return "\N{NO-BREAK SPACE}".join((mean, "±", half, measure.unit) if half else (mean, measure.unit))


def _section(title: str, *parts: Markup, look: str = "") -> Markup:
    return tag("section", {"class": look} if look else {}, tag("h2", {}, title), *parts)


def _note(words: str) -> Markup:
    return tag("p", {"class": "note"}, words)


def _summary(report: Report) -> Markup | None:
    rows, shown = summarise(report), columns(report)
    if not shown:
        return None
    heads = [tag("th", {"scope": "col"}, "Method"), tag("th", {"scope": "col", "class": "n"}, "Seeds")]
    for m in shown:
        unit = tag("small", {}, m.unit)
        heads.append(tag("th", {"scope": "col", "class": "n", "colspan": 2}, m.title, unit))
    spread = [m for m in shown if any(spell(row, m)[1] for row in rows)]
    table = tag(
        "table",
        {"class": "summary"},
        tag("thead", {}, tag("tr", {}, *heads)),
        tag("tbody", {}, *(_line(row, shown, spread, report) for row in rows)),
    )
    picture = dots(report)
    terms = [join((tag("dt", {}, m.title), tag("dd", {}, m.meaning))) for m in shown if m.meaning]
    return _section(
        "What was kept",
        *([tag("div", {"class": "wide"}, picture)] if picture else []),
        tag("div", {"class": "wide", "tabindex": 0, "role": "region", "aria-label": "Summary"}, table),
        _note("± is half the 95 % Student-t interval of the mean over seeds; a single seed gives none."),
        tag("dl", {}, *terms),
    )


def _line(row: Row, shown: Sequence[Measure], spread: Sequence[Measure], report: Report) -> Markup:
    method = str(row["method"])
    mark = [] if row["bound"] else [swatch(report.methods.index(method))]
    cells = [tag("th", {"scope": "row"}, *mark, method), tag("td", {"class": "n"}, str(row["seeds"]))]
    for measure in shown:
        mean, half = spell(row, measure)
        span = 1 if measure in spread else 2
        cells.append(tag("td", {"class": "n" if mean else "n none", "colspan": span}, mean or "–"))
        if measure in spread:
            cells.append(tag("td", {"class": "pm"}, f"± {half}" if half else ""))
    return tag("tr", {"class": "bound"} if row["bound"] else {}, *cells)


def _maps(report: Report) -> Markup | None:
    if not any(run.matrix for run in report.runs):
        return None
    from tenuto.evaluation.heatmap import heatmap, key

    figures = []
    for index, method in enumerate(report.methods):
        if matrices := report.matrices_of(method):
            picture = heatmap(matrices, names=report.context_names, label=f"Accuracy matrix of {method}")
            figures.append(tag("figure", {}, tag("h3", {}, swatch(index), method), picture))
    told = "Each row is a moment, right after one more context was learned; outlined is the one just learned."
    return _section("What was known when", _note(told), key(), tag("div", {"class": "maps"}, *figures))


def _charts(report: Report) -> Markup | None:
    if not report.chart_titles:
        return None
    told = "Lines are means over seeds, bands span all seeds; a dotted rule is where a context begins."
    if any(curve.marks for run in report.runs for curve in run.curves.values()):
        told += " Ticks at the foot are what was noticed, of every seed."
    figures = [chart(report, title) for title in report.chart_titles]
    return _section("Along the way", _note(told), *figures, look="charts")


def _proofs(proofs: Sequence[Proof]) -> Markup | None:
    if not proofs:
        return None
    cards = []
    for proof in proofs:
        look, verdict = ("proof holds", "✓ Holds") if proof.holds else ("proof fails", "✕ Fails")
        told = tag("p", {"class": "verdict"}, verdict), tag("h3", {}, proof.title)
        cards.append(tag("article", {"class": look}, *told, tag("pre", {}, proof.evidence)))
    return _section("What was proved", tag("div", {"class": "proofs"}, *cards))


def _listing(listing: Listing) -> Markup:
    heads = [tag("th", {"scope": "col"}, name) for name in listing.head]
    rows = []
    for i, texts in enumerate(listing.rows):
        first, *rest = texts
        cells = [tag("th", {"scope": "row"}, first), *(tag("td", {}, text) for text in rest)]
        bar = [tag("td", {"class": "bar"}, _bar(listing.shares[i]))] if listing.shares else []
        rows.append(tag("tr", {}, *cells, *bar))
    bars = [tag("th", {"scope": "col"})] if listing.shares else []
    head = [tag("thead", {}, tag("tr", {}, *heads, *bars))] if any(listing.head) else []
    table = tag("table", {"class": "listing"}, *head, tag("tbody", {}, *rows))
    told = [_note(listing.note)] if listing.note else []
    return _section(listing.title, *told, tag("div", {"class": "wide"}, table))


def _bar(share: float) -> Markup:
    drawn = tag("rect", {"class": "cell", "width": 100 * share, "height": 10})
    stretched = {"viewBox": "0 0 100 10", "preserveAspectRatio": "none", "aria-hidden": "true"}
    return tag("svg", {**stretched, "height": 10}, drawn)


def _facts(report: Report) -> Markup | None:
    if not report.facts:
        return None
    rows = []
    for name, told in report.facts.items():
        rows.append(tag("tr", {}, tag("th", {"scope": "row"}, name), tag("td", {}, told)))
    return _section("How to repeat it", tag("table", {"class": "facts"}, tag("tbody", {}, *rows)))


def _footer() -> Markup:
    return tag("footer", {}, _note("Written by tenuto: one file, no script, nothing loaded."))
