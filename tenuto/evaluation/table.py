"""The summary: one row of plain numbers per method, with its interval over seeds, the bound last.

The terminal, the JSON output and the HTML page all read these rows; `spell` writes one figure for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tenuto.evaluation.intervals import interval
from tenuto.evaluation.report import MATRIX_MEASURES, Report

Row = dict[str, str | int | float | None]
JOINT = "joint training"
"""The name of the upper bound's row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A column of the summary.

    Args:
        name: its key in a row.
        title: its heading.
        unit: "%" (a share, shown times 100), "bits", or "".
        signed: whether to show a plus sign.
        meaning: one sentence; says which direction is better.
    """

    name: str
    title: str
    unit: str = ""
    signed: bool = False
    meaning: str = ""


MEASURES = (
    Measure(
        name="average_accuracy",
        title="Average accuracy",
        unit="%",
        meaning="Accuracy at the end, averaged over all contexts. Higher is better.",
    ),
    Measure(
        name="forgetting",
        title="Forgetting",
        unit="%",
        meaning="Best accuracy a context ever had, less its accuracy at the end. Lower is better.",
    ),
    Measure(
        name="backward_transfer",
        title="Backward transfer",
        unit="%",
        signed=True,
        meaning="What later learning changed in the accuracy of earlier contexts. Higher is better.",
    ),
    Measure(
        name="forward_transfer",
        title="Forward transfer",
        unit="%",
        signed=True,
        meaning="Accuracy on a context just before learning it, less an untrained model's. Higher is better.",
    ),
    Measure(
        name="progressive_accuracy",
        title="Progressive accuracy",
        unit="%",
        meaning="Share of rows predicted rightly before being learned. Higher is better.",
    ),
    Measure(
        name="retention_bits",
        title="Retention",
        unit="bits",
        meaning="Information per example still held at the end, over knowing only how often "
        "each label occurs. Higher is better.",
    ),
    Measure(
        name="calibration_error",
        title="Calibration error",
        unit="%",
        meaning="Expected gap between confidence and accuracy. Lower is better.",
    ),
)
"""The measures with a fixed place and meaning; a run may bring others, which follow by name."""


def columns(report: Report) -> tuple[Measure, ...]:
    """The measures that any run of the report has, known ones first."""
    present = dict.fromkeys(name for run in report.runs for name in run.figures)
    if report.joint is not None:
        present[MATRIX_MEASURES[0]] = None
    known = tuple(m for m in MEASURES if m.name in present)
    others = [name for name in present if name not in {m.name for m in known}]
    return known + tuple(Measure(name=name, title=name.replace("_", " ").capitalize()) for name in others)


def summarise(report: Report) -> list[Row]:
    """One row per method, and one for joint training where it was run.

    Keys: method, bound (whether it is the joint-training row), seeds, and for each measure of `columns` its
    mean over the seeds that have it, `<name>_half_width` of the 95 % interval; None where nothing is known.

    >>> from tenuto.evaluation.report import Run
    >>> runs = [Run(method="er", seed=s, measures={"retention_bits": s + 1.0}) for s in (0, 1)]
    >>> row = summarise(Report(title="t", runs=runs))[0]
    >>> row["method"], row["seeds"], row["retention_bits"]
    ('er', 2, 1.5)
    """
    shown = columns(report)
    rows = []
    for method in report.methods:
        runs = report.runs_of(method)
        figures = [run.figures for run in runs]
        row: Row = {"method": method, "bound": False, "seeds": len(runs)}
        for m in shown:
            row |= _cells(m.name, [f[m.name] for f in figures if m.name in f])
        rows.append(row)
    if report.joint is not None:
        row = {"method": JOINT, "bound": True, "seeds": len(report.joint)}
        for m in shown:
            row |= _cells(m.name, report.joint if m.name == MATRIX_MEASURES[0] else ())
        rows.append(row)
    return rows


def spell(row: Row, measure: Measure) -> tuple[str, str]:
    """The figure and its half width as a person reads them; "" for what is not known.

    >>> spell({"forgetting": 0.0312, "forgetting_half_width": 0.004}, MEASURES[1])
    ('3.1', '0.4')
    """
    mean, half = row[measure.name], row[f"{measure.name}_half_width"]
    return _number(mean, measure, signed=measure.signed), _number(half, measure, signed=False)


def _cells(name: str, values: Sequence[float]) -> Row:
    if not values:
        return {name: None, f"{name}_half_width": None}
    found = interval(values)
    return {name: found.mean, f"{name}_half_width": found.half_width}


def _number(value: str | int | float | None, measure: Measure, *, signed: bool) -> str:
    if not isinstance(value, int | float):
        return ""
    scaled = 100 * value if measure.unit == "%" else value
    digits = {"%": 1, "bits": 2}.get(measure.unit, 3)
    text = f"{scaled:z.{digits}f}"
    if signed and float(text) > 0:
        text = f"+{text}"
    return text.replace("-", "\N{MINUS SIGN}")
