"""What the runs gave: a line per method, and a page with facts recalled and known ones kept on the way."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tenuto.evaluation import Curve, Interval, Listing, Report, Run, interval
from tenuto.studies.facts.teaching import Job

Found = Sequence[tuple[Job, Mapping[str, Any]]]
HEAD = (
    "method",
    "recalled",
    "in other words",
    "known still right, %",
    "same words, %",
    "s / correction",
    "updates",
    "seeds",
)
NAMES = {
    ("naive", "alone"): "naive LoRA",
    ("replay", "alone"): "replay",
    ("anchored", "alone"): "anchored, the adapter alone",
    ("anchored", "routed"): "anchored and routed (a home by name)",
    ("protected", "alone"): "ogp_lora, the adapter alone",
    ("protected", "routed"): "ogp_lora and routed",
}
"""The lines, by method and by who answers."""
_SUBTITLE = (
    "A small language model is told invented facts, one correction at a time. What did it know before?"
)


def lines(found: Found) -> list[dict[str, Any]]:
    """The figures of each line, over its seeds: means, and half their 95 % intervals."""
    told = []
    for (method, answers), name in NAMES.items():
        runs = [(job, outcome) for job, outcome in found if job.method == method and answers in outcome]
        if not runs:
            continue
        judged = [outcome[answers] for _, outcome in runs]
        seconds = [second for _, outcome in runs for second in outcome["seconds"]]
        told.append(
            {
                "name": name,
                "facts": runs[0][0].facts,
                "seeds": [job.seed for job, _ in runs],
                **{what: [one[what] for one in judged] for what in ("recalled", "otherwise", "kept", "same")},
                "let_in": [one["let_in"] for one in judged if "let_in" in one],
                "seconds": seconds,
                "updates": statistics.fmean(sum(outcome["updates"]) for _, outcome in runs),
            }
        )
    return told


def cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    """A text for each column of HEAD."""
    return (
        line["name"],
        _count(line["recalled"], line["facts"]),
        _count(line["otherwise"], line["facts"]),
        _share(line["kept"]),
        _share(line["same"]),
        f"{statistics.median(line['seconds']):.1f}",
        f"{line['updates']:.0f}",
        str(len(line["seeds"])),
    )


def report(found: Found, base: str, facts: Mapping[str, str]) -> Report:
    """The page.

    Args:
        base: what the bare base answers of the probe, in words.
        facts: how to repeat it, by name.
    """
    rows = tuple(cells(line) for line in lines(found))
    titles = {"recalled": "Invented facts recalled", "kept": "Known facts still right"}
    runs = [
        Run(
            method=NAMES[(job.method, "routed" if "routed" in outcome else "alone")],
            seed=job.seed,
            curves={title: _curve(outcome["curve"], what) for what, title in titles.items()},
        )
        for job, outcome in found
    ]
    note = f"{base} Greedy answers; \N{PLUS-MINUS SIGN} is half the 95 % interval over the seeds."
    return Report(
        title="Corrections, and what they cost",
        subtitle=_SUBTITLE,
        runs=tuple(runs),
        listings=(Listing(title="In the end", head=HEAD, rows=rows, note=note),),
        facts=facts,
    )


def _curve(curve: Sequence[Mapping[str, Any]], what: str) -> Curve:
    share = [
        100 * point[what] / (point["facts"] if what == "recalled" else 1) for point in (_START[what], *curve)
    ]
    return Curve(
        x=(0, *(point["facts"] for point in curve)),
        y=tuple(share),
        x_label="facts taught",
        y_label="of the facts taught so far, %" if what == "recalled" else "of those the base knew, %",
    )


_START: dict[str, dict[str, Any]] = {
    "recalled": {"facts": 1, "recalled": float("nan")},
    "kept": {"facts": 0, "kept": 1.0},
}
"""Before the first fact nothing can be recalled, and all is known."""


def _count(found: Sequence[int], facts: int) -> str:
    least, most = min(found), max(found)
    return f"{least} / {facts}" if least == most else f"{least} to {most} / {facts}"


def _share(found: Sequence[float]) -> str:
    at: Interval = interval([100 * one for one in found])
    return f"{at.mean:.1f}" + ("" if at.half_width is None else f" \N{PLUS-MINUS SIGN}{at.half_width:.1f}")
