"""What the runs gave: progressive accuracy with and without an answer to drift, MNIST-360's table, a page.

Each figure is a mean over seeds with half its 95 % Student-t interval; a gain is paired by seed, in points.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenuto.evaluation import Curve, Interval, Listing, Report, Run, interval, paired_interval
from tenuto.evaluation.progressive import windowed_accuracy
from tenuto.studies.papers.table import spell
from tenuto.studies.streams.campaign import TITLES, Job
from tenuto.studies.streams.measuring import FOLLOWERS, WITHOUT, Walk

Found = Sequence[tuple[Job, Walk]]
MOVING = ("stream", "learner", "progressive, %", "gain", "drifts", "tested, %", "seeds")
TABLE = ("method", "buffer", "paper", "ours", "difference", "progressive, %", "seeds", "CPU s", "setting")
TRIED = ("method", "buffer", "held out", "seeds", "setting")
_SHOWN = ("method", "buffer", "paper", "ours", "difference", "setting")
"""The columns of TABLE that a page has room for."""
_POINTS, _WINDOWS = 200, 40
_SUBTITLE = "Each row is answered before it is learned; some learners act on the drifts that are reported."


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A learner along a stream, over its seeds.

    Args:
        stream: one of TITLES.
        learner: its name.
        progressive: accuracies in percent, one per seed.
        drifts: how many were reported, one per seed.
        tested: accuracies in the end in percent, one per seed; () where the stream has no test rows.
        gain: of acting over not acting, in points; None: it is neither.
    """

    stream: str
    learner: str
    progressive: tuple[float, ...]
    drifts: tuple[int, ...]
    tested: tuple[float, ...] = ()
    gain: Interval | None = None

    def cells(self) -> tuple[str, ...]:
        """A text for each column of MOVING."""
        return (
            TITLES[self.stream],
            self.learner,
            spell(interval(self.progressive)),
            "" if self.gain is None else spell(self.gain),
            f"{statistics.fmean(self.drifts):.1f}" if self.gain is not None else "",
            spell(interval(self.tested)) if self.tested else "",
            str(len(self.progressive)),
        )

    def to_plain(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        mean = interval(self.progressive)
        return {
            "stream": self.stream,
            "learner": self.learner,
            "progressive": mean.mean,
            "half_width": mean.half_width,
            "accuracies": list(self.progressive),
            "drifts": list(self.drifts),
            "tested": list(self.tested),
            "gain": None if self.gain is None else self.gain.mean,
            "gain_half_width": None if self.gain is None else self.gain.half_width,
        }


def moving(found: Found) -> list[Line]:
    """The lines of progressive accuracy, stream by stream."""
    by: dict[tuple[str, str], list[Walk]] = {}
    for job, walk in found:
        if job.solver is None:
            by.setdefault((job.stream, job.learner), []).append(walk)
    told = []
    for (stream, learner), walks in by.items():
        beside = by.get((stream, WITHOUT), [])
        both = learner in FOLLOWERS and learner != WITHOUT and len(beside) == len(walks)
        told.append(
            Line(
                stream=stream,
                learner=learner,
                progressive=_accuracies(walks),
                drifts=tuple(len(walk.drifts) for walk in walks),
                tested=tuple(100 * walk.tested for walk in walks if walk.tested is not None),
                gain=paired_interval(_accuracies(walks), _accuracies(beside)) if both else None,
            )
        )
    return told


def solved(found: Found) -> list[dict[str, Any]]:
    """MNIST-360's table as plain data: each line with the paper's figure and ours."""
    by: dict[str, list[tuple[Job, Walk]]] = {}
    for job, walk in found:
        if job.solver is not None:
            by.setdefault(f"{job.solver.name}: {job.solver.told}", []).append((job, walk))
    told = []
    for runs in by.values():
        line = runs[0][0].solver
        tested = [100 * walk.tested for _, walk in runs if walk.tested is not None]
        if line is None or not tested:
            continue
        ours = interval(tested)
        told.append(
            {
                "method": line.method,
                "buffer": line.buffer,
                "paper": line.paper,
                "ours": ours.mean,
                "half_width": ours.half_width,
                "accuracies": dict(zip([str(job.seed) for job, _ in runs], tested, strict=True)),
                "progressive": None
                if line.setting.mixed
                else interval(_accuracies([w for _, w in runs])).mean,
                "cpu_seconds": statistics.fmean(walk.seconds for _, walk in runs),
                "setting": line.told,
            }
        )
    return told


def table_cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    """A text for each column of TABLE."""
    paper, ours, progressive = line["paper"], line["ours"], line["progressive"]
    return (
        line["method"],
        "" if line["buffer"] is None else f"{line['buffer']:,}",
        "" if paper is None else f"{paper:.2f}",
        _ours(line),
        "" if paper is None else f"{ours - paper:+.2f}".replace("-", "\N{MINUS SIGN}"),
        "" if progressive is None else f"{progressive:.2f}",
        str(len(line["accuracies"])),
        f"{line['cpu_seconds']:.0f}",
        line["setting"],
    )


def tried_cells(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A text for each column of TRIED, a line's best setting first."""
    places = [(line["method"], line["buffer"]) for line in lines]
    ranked = sorted(lines, key=lambda line: (places.index((line["method"], line["buffer"])), -line["ours"]))
    return [
        (
            line["method"],
            "" if line["buffer"] is None else f"{line['buffer']:,}",
            _ours(line),
            str(len(line["accuracies"])),
            line["setting"],
        )
        for line in ranked
    ]


def report(found: Found, left_out: Sequence[str], facts: Mapping[str, str]) -> Report:
    """The page: progressive accuracy along each stream, drifts marked, and the tables.

    Args:
        left_out: what was not measured, and why.
        facts: how to repeat it, by name.
    """
    runs: dict[tuple[str, int], dict[str, Curve]] = {}
    for job, walk in found:
        if job.solver is None:
            drawn = runs.setdefault((job.learner, job.seed), {})
            drawn[TITLES[job.stream]] = curve(walk)
    listings = []
    if lines := moving(found):
        rows = tuple(line.cells() for line in lines)
        note = "± is half the 95 % interval; the gain of acting is paired by seed, in points."
        listings.append(Listing(title="Progressive accuracy", head=MOVING, rows=rows, note=note))
    if table := solved(found):
        note = "Accuracy in the end, in percent. Buzzega et al., Dark Experience (2020)."
        shown = [TABLE.index(name) for name in _SHOWN]
        cells = tuple(tuple(table_cells(line)[i] for i in shown) for line in table)
        listings.append(Listing(title="MNIST-360", head=_SHOWN, rows=cells, note=note))
    if left_out:
        told = tuple((words,) for words in left_out)
        listings.append(Listing(title="Left out", head=("",), rows=told))
    return Report(
        title="Streams that move",
        subtitle=_SUBTITLE,
        runs=tuple(Run(method=learner, seed=seed, curves=curves) for (learner, seed), curves in runs.items()),
        listings=tuple(listings),
        facts=facts,
    )


def curve(walk: Walk) -> Curve:
    """Progressive accuracy in a window that slides along the stream, at about 200 places."""
    rows = len(walk.hits)
    window = max(1, rows // _WINDOWS)
    smooth = windowed_accuracy(walk.hits, window=window)
    places = range(min(window, rows), rows + 1, max(1, rows // _POINTS))
    return Curve(
        x=tuple(places),
        y=tuple(100 * float(smooth[place - 1]) for place in places),
        x_label="rows",
        y_label=f"right of the last {window:,}, %",
        marks=walk.drifts,
        boundaries=walk.changes,
    )


def _accuracies(walks: Sequence[Walk]) -> tuple[float, ...]:
    return tuple(100 * walk.accuracy for walk in walks)


def _ours(line: Mapping[str, Any]) -> str:
    half = line["half_width"]
    return f"{line['ours']:.2f}" + ("" if half is None else f" ± {half:.2f}")
