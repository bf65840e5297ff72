"""Colours and the page's style sheet: light and dark by the reader's own setting, plain white in print."""

from __future__ import annotations

HEAT_TURN = 0.653
"""The accuracy from which a heat map's numbers change ink; contrast stays above 4.5 on both sides."""

LIGHT = {
    "paper": "#fdfcf9",
    "ink": "#1b1d21",
    "soft": "#5b6069",
    "rule": "#dedbd3",
    "heat": "#08306b",
    "cell-low": "#000000",
    "cell-high": "#ffffff",
    "good": "#14693f",
    "bad": "#b3261e",
    "good-wash": "#eef6ef",
    "bad-wash": "#fdeeec",
}
DARK = {
    "paper": "#14161a",
    "ink": "#e7e6e2",
    "soft": "#a2a7b0",
    "rule": "#33373e",
    "heat": "#78abee",
    "cell-low": "#ffffff",
    "cell-high": "#000000",
    "good": "#6fd39b",
    "bad": "#ff8f85",
    "good-wash": "#16241c",
    "bad-wash": "#2b1918",
}
LIGHT_LINES = ("#1f5fa8", "#c2410c", "#14795a", "#8b3fa0", "#8a6100", "#0e7490", "#b3265e", "#555b66")
DARK_LINES = ("#7db4ff", "#ff9a5c", "#5fd0a3", "#d79bf0", "#e6bd4a", "#58c7e0", "#ff86b0", "#aeb4bf")


def css() -> str:
    """The whole style sheet."""
    dark = _variables(DARK, DARK_LINES)
    hues = "".join(f".hue-{i}{{--hue:var(--line-{i})}}" for i in range(len(LIGHT_LINES)))
    return (
        f":root{{color-scheme:light dark;{_variables(LIGHT, LIGHT_LINES)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}{hues}{_SHEET}"
    )


def hue(index: int) -> str:
    """The class that gives a method its colour; beyond the palette the colours return, dashed.

    >>> hue(1), hue(9)
    ('hue-1', 'hue-1 dashed')
    """
    return f"hue-{index % len(LIGHT_LINES)}" + (" dashed" if index >= len(LIGHT_LINES) else "")


def _variables(colours: dict[str, str], lines: tuple[str, ...]) -> str:
    named = colours | {f"line-{i}": colour for i, colour in enumerate(lines)}
    return "".join(f"--{name}:{colour};" for name, colour in named.items())


_SHEET = """
*{box-sizing:border-box}
html{background:var(--paper);color:var(--ink);-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:66rem;padding:3.5rem 1.5rem 4rem;
font:1rem/1.55 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1,h2{font-family:"Iowan Old Style","Palatino Linotype",Palatino,"Book Antiqua",Georgia,serif;font-weight:600;
line-height:1.2;text-wrap:balance}
h1{font-size:2.3rem;letter-spacing:-.01em;margin:0}
h1::before{content:"";display:block;width:3.2rem;border-top:4px solid;margin-bottom:1.1rem}
h2{font-size:1.4rem;margin:0 0 .35rem}
h3{font-size:1rem;font-weight:600;margin:0 0 .5rem}
p{margin:.35rem 0;max-width:44rem}
.subtitle{font-size:1.1rem;color:var(--soft);margin-top:.6rem}
.headline{font-size:1.15rem;margin-top:1.4rem}
.note,figcaption{color:var(--soft);font-size:.875rem}
section{margin-top:3.25rem}
figure{margin:0}
.wide{overflow-x:auto;margin:1rem 0}
svg{display:block;overflow:visible}
.wide>svg{width:100%;min-width:44rem;height:auto}
.maps{display:flex;flex-wrap:wrap;gap:2rem 1rem;margin-top:1.25rem}
.maps figure{max-width:100%;overflow-x:auto}
.charts figure{margin-top:1.5rem}
.charts figure+figure{margin-top:2.5rem}
text{font:12px ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
fill:var(--ink);font-variant-numeric:tabular-nums}
text.soft{fill:var(--soft)}
.middle{text-anchor:middle}
.end{text-anchor:end}
.grid{stroke:var(--rule);stroke-width:1}
.base{stroke:var(--soft);stroke-width:1}
.boundary{stroke:var(--soft);stroke-width:1;stroke-dasharray:1 4;stroke-linecap:round}
.mark{fill:none;stroke:var(--hue);stroke-width:1.5;stroke-opacity:.55}
.joint{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 4}
.joint-band{fill:var(--ink);fill-opacity:.08}
.line{fill:none;stroke:var(--hue);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.under-1{stroke-width:5}.under-2{stroke-width:8}.under-3{stroke-width:11}
.dashed .line,.dashed.line{stroke-dasharray:6 5}
.band{fill:var(--hue);fill-opacity:.16}
.whisker{stroke:var(--hue);stroke-width:2}
.dot{fill:var(--hue);stroke:var(--paper);stroke-width:1.5}
.seed{fill:var(--hue);fill-opacity:.4}
.cell{fill:var(--heat)}
.learned{stroke:var(--ink);stroke-width:1.5}
.blank{fill:none;stroke:var(--rule)}
.low{fill:var(--cell-low)}
.high{fill:var(--cell-high)}
.small{font-size:10px}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.4rem;list-style:none;
margin:.25rem 0 0;padding:0;font-size:.875rem}
.legend li{display:flex;align-items:center;gap:.45rem}
.legend b{font-weight:400;color:var(--soft);font-variant-numeric:tabular-nums}
table{border-collapse:collapse;font-size:.9375rem;font-variant-numeric:tabular-nums}
.summary{min-width:100%}
th{text-align:left;font-weight:600;vertical-align:bottom}
thead th{font-size:.8125rem;line-height:1.25;color:var(--soft);padding:0 .5rem .5rem 0}
thead th.n{text-align:right}
.summary thead th:nth-child(2){padding-right:0}
thead small{display:block;font-size:.75rem;font-weight:400}
tbody th{font-weight:400;white-space:nowrap}
h3 svg{display:inline-block;vertical-align:1px;margin-right:.5rem}
tbody th svg{display:inline-block;vertical-align:-1px;margin-right:.55rem}
tbody th,tbody td{border-top:1px solid var(--rule);padding:.45rem 0}
td.n{text-align:right;padding-left:1.1rem}
td.n[colspan="2"]{padding-right:.5rem}
td.pm{color:var(--soft);padding-left:.35rem;padding-right:.5rem;white-space:nowrap;font-size:.8125rem}
.bound th,.bound td{border-top:1.5px solid var(--soft);font-style:italic}
.none{color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.25rem;font-size:.875rem;margin:1rem 0 0}
dt{color:var(--ink)}
dd{margin:0;color:var(--soft)}
.proofs{display:grid;gap:.9rem;margin-top:1rem}
.proof{border:1px solid var(--rule);border-left:4px solid var(--verdict);border-radius:4px;
padding:.9rem 1.1rem;background:var(--wash)}
.holds{--verdict:var(--good);--wash:var(--good-wash)}
.fails{--verdict:var(--bad);--wash:var(--bad-wash)}
.verdict{color:var(--verdict);font-weight:600;font-size:.875rem;margin:0 0 .2rem}
header .verdict{font-size:1rem;margin-top:.6rem}
pre{font:.8125rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;margin:.5rem 0 0;
white-space:pre-wrap;overflow-wrap:anywhere}
.listing th,.listing td{padding-right:1.5rem}
.listing td,.listing tbody th{vertical-align:top;overflow-wrap:anywhere}
.listing .bar{width:66%;padding-right:0;vertical-align:middle}
.listing .bar svg{width:100%}
.listing:has(.bar){width:100%}
.facts{width:100%;margin-top:.75rem}
.facts th{padding-right:1.5rem;vertical-align:top;color:var(--soft);width:1%}
.facts td{overflow-wrap:anywhere;font:.8125rem/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
footer{margin-top:4rem;padding-top:1rem;border-top:1px solid var(--rule)}
@media (max-width:40rem){body{padding:2rem 1rem}h1{font-size:1.8rem}dl{grid-template-columns:1fr}
dd{margin-bottom:.5rem}}
@media print{:root{--paper:#fff;color-scheme:light}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{max-width:none;padding:0;font-size:10pt}section{margin-top:2rem}h2,h3{break-after:avoid}
figure,tr,.proof{break-inside:avoid}.note,section>svg{break-after:avoid}.wide{overflow:visible}.wide>svg{min-width:0}}
"""
