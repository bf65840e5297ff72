"""The tables: each line of a paper beside what was measured here, with its interval over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tenuto.evaluation import Interval, interval
from tenuto.studies.papers.campaign import jobs, runnable
from tenuto.studies.papers.figures import Line
from tenuto.studies.papers.protocols import Setting
from tenuto.studies.papers.results import Results

HEAD = ("method", "buffer", "paper", "ours", "difference", "seeds", "CPU s", "setting")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A line with what was measured.

    Args:
        line: whose figure it is.
        setting: what ours was run with; None: it is not run here.
        accuracies: ours in percent, one per seed.
        seeds: the seeds.
        transfer: backward transfer in points, one per seed that has it.
        seconds: CPU seconds of learning, one per seed.
    """

    line: Line
    setting: Setting | None
    accuracies: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    transfer: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()

    @property
    def ours(self) -> Interval | None:
        """The mean over seeds with its 95 % interval; None where nothing was run."""
        return interval(self.accuracies) if self.accuracies else None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's, in points; None where one of them is missing."""
        ours = self.ours
        return None if ours is None or self.line.paper is None else ours.mean - self.line.paper

    def cells(self) -> tuple[str, ...]:
        """A text for each column of HEAD."""
        return (
            self.line.method,
            "" if self.line.buffer is None else f"{self.line.buffer:,}",
            "" if self.line.paper is None else f"{self.line.paper:.2f}",
            spell(self.ours),
            "" if self.difference is None else f"{self.difference:+.2f}".replace("-", "\N{MINUS SIGN}"),
            str(len(self.seeds)) if self.seeds else "",
            f"{sum(self.seconds) / len(self.seconds):.0f}" if self.seconds else "",
            "" if self.setting is None else str(self.setting),
        )

    def to_plain(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        ours = self.ours
        return {
            "protocol": self.line.protocol,
            "method": self.line.method,
            "buffer": self.line.buffer,
            "paper": self.line.paper,
            "ours": None if ours is None else ours.mean,
            "half_width": None if ours is None else ours.half_width,
            "difference": self.difference,
            "accuracies": dict(zip(map(str, self.seeds), self.accuracies, strict=True)),
            "backward_transfer": interval(self.transfer).mean if self.transfer else None,
            "cpu_seconds": sum(self.seconds) / len(self.seconds) if self.seconds else None,
            "setting": None if self.setting is None else str(self.setting),
        }


def entries(lines: Iterable[Line], seeds: Sequence[int], data: str, results: Results) -> Iterator[Entry]:
    """Every line with what the results hold of it under these seeds, of these data."""
    for line in lines:
        found = [(job.seed, outcome) for job in jobs([line], seeds, data) if (outcome := results.of(job))]
        matrices = [outcome["matrix"] for _, outcome in found if outcome["matrix"]]
        yield Entry(
            line=line,
            setting=runnable(line),
            accuracies=tuple(100 * outcome["accuracy"] for _, outcome in found),
            seeds=tuple(seed for seed, _ in found),
            transfer=tuple(100 * _transfer(matrix) for matrix in matrices),
            seconds=tuple(outcome["learning"] for _, outcome in found),
        )


def choices(results: Results, protocols: Sequence[str]) -> list[tuple[str, int | None, str, Interval]]:
    """What `--tune` found: protocol, buffer, setting and accuracy in percent, the best of each first."""
    tried: dict[tuple[str, int | None, str], list[float]] = {}
    for job, outcome in results:
        if job.judged == "validation" and job.protocol in protocols:
            place = (job.protocol, job.buffer, str(job.setting))
            tried.setdefault(place, []).append(100 * outcome["accuracy"])
    found = [(*place, interval(values)) for place, values in tried.items()]
    return sorted(found, key=lambda one: (one[0], one[2].split(",")[0], one[1] or 0, -one[3].mean))


def spell(found: Interval | None) -> str:
    """A mean and its half width as a person reads them.

    >>> spell(interval([88.0, 88.5])), spell(interval([88.0])), spell(None)
    ('88.25 ± 3.18', '88.00', '–')
    """
    if found is None:
        return "–"
    return f"{found.mean:.2f}" + ("" if found.half_width is None else f" ± {found.half_width:.2f}")


def _transfer(matrix: list[list[float]]) -> float:
    """The mean over earlier contexts of a[T, i] - a[i, i] (Lopez-Paz & Ranzato 2017)."""
    earlier = range(len(matrix) - 1)
    return sum(matrix[-1][i] - matrix[i][i] for i in earlier) / max(1, len(earlier))
