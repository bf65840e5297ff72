import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenuto.evaluation import AccuracyMatrix, Curve, Proof, Report, Run, render
from tenuto.evaluation.markup import Markup, join, tag
from tenuto.evaluation.style import DARK, DARK_LINES, HEAT_TURN, LIGHT, LIGHT_LINES


class Page(HTMLParser):
    """Every element with its attributes, as a browser would read them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


def body(page: str) -> ElementTree.Element:
    """The body as XML: it parses only if every element is closed and every text escaped."""
    return ElementTree.fromstring(page[page.index("<body>") : page.index("</body>") + len("</body>")])


def test_the_page_needs_nothing_but_itself(report):
    page = render(report)
    allowed = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "main",
        "section",
        "footer",
        "article",
    }
    allowed |= {"h1", "h2", "h3", "p", "pre", "figure", "div", "ul", "li", "b", "small", "dl", "dt", "dd"}
    allowed |= {
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "svg",
        "g",
        "text",
        "line",
        "rect",
        "circle",
        "path",
    }
    parsed = Page(page)
    assert {name for name, _ in parsed.elements} <= allowed
    for _, attributes in parsed.elements:
        assert not {"src", "href", "style", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"https?:|//|url\(|@import|@font-face", page)


def test_the_page_brings_its_own_content_security_policy(report):
    policies = [a["content"] for _, a in Page(render(report)).elements if a.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_the_same_report_gives_the_same_bytes(report):
    assert render(report).encode() == render(report).encode()


def test_the_body_is_well_formed_and_every_picture_is_named(report):
    pictures = [e for e in body(render(report)).iter("svg") if e.get("aria-hidden") != "true"]
    assert len(pictures) == 1 + 1 + 2 + 1  # dots, colour scale, two matrices, one chart
    assert all(e.get("role") == "img" and e.get("aria-label") for e in pictures)


def test_every_number_of_the_summary_is_there(report):
    rows = [
        ["".join(cell.itertext()) for cell in row] for row in body(render(report)).find(".//table").iter("tr")
    ]
    assert rows[0][:3] == ["Method", "Seeds", "Average accuracy%"]
    assert rows[2][:8] == ["er", "2", "71.8", "± 2.1", "12.5", "± 0.0", "−12.5", "± 0.0"]
    assert rows[3][:5] == ["joint training", "2", "94.0", "± 12.7", "–"]


def test_headline_names_the_best_method_beside_the_bound(report):
    told = body(render(report)).find(".//p[@class='headline']").text.replace("\N{NO-BREAK SPACE}", " ")
    assert told == "er ends at 71.8 ± 2.1 % average accuracy; joint training reaches 94.0 ± 12.7 %."


def test_a_matrix_shows_each_cell_and_what_each_seed_reached(report):
    figure = next(f for f in body(render(report)).iter("figure") if "er" in "".join(f.find("h3").itertext()))
    cells = [e.text for e in figure.iter("text") if (e.get("class") or "").startswith(("low ", "high "))]
    assert cells == ["90.0", "10.0", "81.0", "80.0", "20.0", "72.9", "72.0", "70.5"]
    outlined = [e.get("class") == "cell learned" for e in figure.iter("rect")]
    assert outlined == [True, False, False, False, True, False, False, False, True]
    titles = [e.text for e in figure.iter("title")]
    assert titles[2] == "after zero, on two: not measured, not measured"
    assert titles[8] == "after two, on two: 70.00 %, 71.00 %"


def test_proofs_say_whether_they_hold_and_show_their_evidence(report):
    cards = list(body(render(report)).iter("article"))
    assert [card.get("class") for card in cards] == ["proof holds", "proof fails"]
    assert [card.find("p").text for card in cards] == ["✓ Holds", "✕ Fails"]
    assert cards[1].find("pre").text == "here  ab12\nthere cd34"
    assert "✕ 1 of 2 proofs fails: Forgot" in render(report)


def test_a_listing_is_a_table_with_a_bar_per_share(report):
    kept, apart = (t for t in body(render(report)).iter("table") if t.get("class") == "listing")
    assert [["".join(cell.itertext()) for cell in row] for row in kept.iter("tr")] == [
        ["class", "rows", ""],
        ["a <b>", "3", ""],
        ["c", "1", ""],
    ]
    assert [bar.get("width") for bar in kept.iter("rect")] == ["75", "25"]
    assert ["".join(cell.itertext()) for cell in apart.find("tbody").iter("td")] == ["no target"]


def test_proofs_that_all_hold_are_counted(report):
    assert "✓ 1 of 1 proofs hold" in render(replace(report, proofs=report.proofs[:1]))


def test_a_context_begins_at_a_vertical_rule(report):
    chart = next(
        e for e in body(render(report)).iter("svg") if (e.get("aria-label") or "").startswith("Loss")
    )
    rules = [e for e in chart.iter("line") if e.get("class") == "boundary"]
    base = next(e for e in chart.iter("line") if e.get("class") == "base")
    middle = (float(base.get("x1")) + float(base.get("x2"))) / 2
    assert [float(e.get("x1")) for e in rules] == [pytest.approx(middle, abs=0.1)]


def test_what_was_noticed_is_a_tick_at_the_foot_in_its_methods_colour(report):
    assert 'class="mark' not in render(report)
    curves = {"Loss": replace(report.runs[2].curves["Loss"], marks=(0, 5, 20, 50))}
    marked = replace(report, runs=(*report.runs[:2], replace(report.runs[2], curves=curves), report.runs[3]))
    (ticks,) = (e for e in body(render(marked)).iter("path") if e.get("class").startswith("mark"))
    assert ticks.get("class") == "mark hue-1"
    x = [float(piece.split()[0]) for piece in ticks.get("d").split("M")[1:]]
    assert x == [52.0, pytest.approx(52 + (976 - 52) / 4, abs=0.1), 976.0], "what lies beyond is left out"
    assert "Ticks at the foot" in render(marked)


def test_a_gap_in_a_curve_is_not_drawn_over(report):
    chart = next(
        e for e in body(render(report)).iter("svg") if (e.get("aria-label") or "").startswith("Loss")
    )
    strokes = [e.get("d") for e in chart.iter("path") if e.get("class").startswith("line")]
    assert len(strokes) == 2
    assert all(d.count("M") == 2 and "L" not in d and d.count("h0") == 2 for d in strokes)


def test_an_empty_report_is_a_page():
    assert [e.text for e in body(render(Report(title="Nothing yet"))).iter("h1")] == ["Nothing yet"]


def test_curves_without_a_single_value_say_so():
    blank = Curve(x=(0,), y=(None,), x_label="rows", y_label="nats")
    page = render(Report(title="t", runs=(Run(method="er", seed=0, curves={"Loss": blank}),)))
    assert "Nothing was measured." in page


hostile = st.one_of(
    st.sampled_from(
        ["</style><script>alert(1)</script>", '" onload="x', "]]>", "<!--", "&lt;", "\ud800", "\x00"]
    ),
    st.text(max_size=12),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hostile, hostile, hostile)
def test_no_text_can_become_markup(one, two, three):
    def made(a: str, b: str, c: str) -> Report:
        curve = Curve(x=(0, 1), y=(0.5, 1), x_label=b, y_label=c, boundaries=(0.5,))
        matrix = AccuracyMatrix(values=[[0.5, 0.5], [0.5, 0.5]])
        run = Run(method=a, seed=0, matrix=matrix, curves={b: curve}, measures={"speed " + c: 1.0})
        proofs = (Proof(title=b, holds=True, evidence=c),)
        return Report(
            title=a,
            subtitle=b,
            runs=(run,),
            proofs=proofs,
            facts={"fact " + a: c},
            context_names=(b + "1", c + "2"),
        )

    def shape(page: str) -> list[str]:
        return [name for name, _ in Page(page).elements if name != "text"]

    page = render(made(one, two, three))
    body(page)
    page.encode()
    plain = render(made("a", "b" * bool(two), "c"))
    assert shape(page) == shape(plain)


def test_escaping_is_undone_by_a_parser():
    assert (
        ElementTree.fromstring(tag("p", {"title": "a\"<&'"}, "<b>", tag("i", {}, "&"))).get("title")
        == "a\"<&'"
    )
    assert join(["<", Markup("<br>")]) == "&lt;<br>"
    assert tag("p", {}, "a\x00\ud800b\n") == "<p>a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b\n</p>"
    with pytest.raises(ValueError, match="element"):
        tag("p onload=x", {})


def channels(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def contrast(a: list[float], b: list[float]) -> float:
    """WCAG 2.2 contrast ratio of two sRGB colours."""

    def luminance(c: list[float]) -> float:
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in c]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_a_heat_maps_numbers_are_legible_on_every_shade(theme):
    paper, heat = channels(theme["paper"]), channels(theme["heat"])
    for shade in (k / 100 for k in range(101)):
        cell = [p + shade * (h - p) for p, h in zip(paper, heat, strict=True)]
        ink = channels(theme["cell-high" if shade >= HEAT_TURN else "cell-low"])
        assert contrast(cell, ink) >= 4.5


@pytest.mark.parametrize(
    ("theme", "lines"), [(LIGHT, LIGHT_LINES), (DARK, DARK_LINES)], ids=["light", "dark"]
)
def test_text_and_lines_stand_out_from_the_paper(theme, lines):
    paper = channels(theme["paper"])
    assert all(contrast(paper, channels(theme[name])) >= 4.5 for name in ("ink", "soft", "good", "bad"))
    assert all(
        contrast(channels(theme[f"{name}-wash"]), channels(theme[name])) >= 4.5 for name in ("good", "bad")
    )
    assert all(contrast(paper, channels(colour)) >= 4.5 for colour in lines)
    assert len(set(lines)) == len(lines)
