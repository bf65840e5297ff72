"""Drift detectors on streams that move at once, move gradually, or stand still: delay, misses, false alarms.

Streams have 3,000 values and move at a place drawn from 1,200 to 1,700, gradual ones over the next 500.
`errors` go from a rate of 0.2 to 0.4, `numbers` from N(0, 1) to N(0.75, 1), `vectors` (32,), half of
whose variance is shared, by 0.75 in each feature. Detectors have their defaults; `kl` and `projected` are
asked for a false alarm in 5 % of streams of that length. Page-Hinkley's threshold and DDM's deviations
are no rates.

    python -m benchmarks.drift                 100 streams of each kind and change, 1 to 2 minutes
    python -m benchmarks.drift --streams 20 --json

A delay counts from the first value that may differ; a miss is a change without a report until the stream
ends. False alarms are those on streams that stand still, of all looks (adwin: every 32nd value), tests
(kswin: every value with a full window) or streams (the others), with the interval of Clopper & Pearson
(1934).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from benchmarks.common import settle
from benchmarks.timing import table
from tenuto import drift

Values = NDArray[np.float64]

LENGTH = 3000
EARLIEST, LATEST, RAMP = 1200, 1700, 500
FEATURES = 32
CHANGES = ("abrupt", "gradual", "none")
DELTA, ALPHA, RATE = 0.002, 0.005, 0.05
OPTIONS: dict[str, dict[str, Any]] = {
    "adwin": {"delta": DELTA, "clock": 32},
    "kswin": {"alpha": ALPHA, "window_size": 100},
    "kl": {"rate": RATE, "horizon": LENGTH},
    "projected": {"rate": RATE, "horizon": LENGTH},
}
RATES = {
    "adwin": (DELTA, "look"),
    "kswin": (ALPHA, "test"),
    "kl": (RATE, "stream"),
    "projected": (RATE, "stream"),
}
"""What each detector was asked for, and of what."""
WATCHED = {
    "errors": ("adwin", "page_hinkley", "kswin", "ddm", "kl"),
    "numbers": ("adwin", "page_hinkley", "kswin", "kl"),
    "vectors": ("projected",),
}


def errors(far: Values, draw: np.random.Generator) -> Values:
    """Errors (n,) of 0 and 1."""
    return np.asarray(draw.random(LENGTH) < 0.2 + 0.2 * far, dtype=np.float64)


def numbers(far: Values, draw: np.random.Generator) -> Values:
    """Numbers (n,)."""
    return np.asarray(draw.normal(size=LENGTH) + 0.75 * far)


def vectors(far: Values, draw: np.random.Generator) -> Values:
    """Vectors (n, 32)."""
    shared, own = draw.normal(size=(LENGTH, 1)), draw.normal(size=(LENGTH, FEATURES))
    return np.asarray((shared + own) / np.sqrt(2) + 0.75 * far[:, None])


STREAMS: dict[str, Callable[[Values, np.random.Generator], Values]] = {
    "errors": errors,
    "numbers": numbers,
    "vectors": vectors,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """One detector on one stream: where it reported, and where the stream began to move."""

    reports: list[int]
    start: int | None

    @property
    def delay(self) -> int | None:
        """Values from the change to the first report after it; None: missed, or nothing to find."""
        if self.start is None:
            return None
        return next((at - self.start + 1 for at in self.reports if at >= self.start), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One detector on all streams of a kind; delays in values, as quartiles, None where fewer than two."""

    streams: str
    detector: str
    delays: dict[str, tuple[float, float, float] | None]
    missed: dict[str, float]
    alarms: int
    chances: int
    low: float
    high: float
    per: str
    asked: float | None

    @property
    def kept(self) -> bool | None:
        """Are false alarms within twice the rate asked for?"""
        return None if self.asked is None else self.alarms / self.chances <= 2 * self.asked


def watch(kind: str, name: str, change: str, seed: int) -> Watch:
    """Run one detector over one stream."""
    draw = np.random.default_rng([seed, CHANGES.index(change), list(STREAMS).index(kind)])
    start = int(draw.integers(EARLIEST, LATEST))
    past = np.arange(LENGTH) - start
    far = {
        "abrupt": (past >= 0).astype(np.float64),
        "gradual": np.clip((past + 1) / RAMP, 0, 1),
        "none": np.zeros(LENGTH),
    }[change]
    values = STREAMS[kind](far, draw)
    detector = drift.load(name, OPTIONS.get(name), seed=seed)
    reports = [i for i, value in enumerate(values) if detector.update(value)]
    return Watch(reports=reports, start=None if change == "none" else start)


def chances(name: str, still: Watch) -> tuple[int, int]:
    """On a stream that stood still: false alarms, and how many there could have been."""
    spans = [after - before for before, after in pairwise([-1, *still.reports, LENGTH - 1])]
    if name == "adwin":
        return len(still.reports), sum(span // OPTIONS[name]["clock"] for span in spans)
    if name == "kswin":
        return len(still.reports), sum(max(0, span - OPTIONS[name]["window_size"] + 1) for span in spans)
    return int(bool(still.reports)), 1


def exact(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of hits in n (Clopper & Pearson 1934)."""
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    return low, float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0


def measure(kind: str, name: str, streams: int) -> Result:
    """One detector over `streams` streams of each change."""
    watched = {change: [watch(kind, name, change, seed) for seed in range(streams)] for change in CHANGES}
    delays: dict[str, tuple[float, float, float] | None] = {}
    missed = {}
    for change in CHANGES[:2]:
        found = [one.delay for one in watched[change] if one.delay is not None]
        missed[change] = 1 - len(found) / streams
        delays[change] = None
        if len(found) > 1:
            low, middle, high = statistics.quantiles(found, method="inclusive")
            delays[change] = (low, middle, high)
    counted = [chances(name, still) for still in watched["none"]]
    alarms, n = sum(one for one, _ in counted), sum(one for _, one in counted)
    low, high = exact(alarms, n)
    asked, per = RATES.get(name, (None, "stream"))
    return Result(
        streams=kind,
        detector=name,
        delays=delays,
        missed=missed,
        alarms=alarms,
        chances=n,
        low=low,
        high=high,
        per=per,
        asked=asked,
    )


def row(result: Result) -> list[str]:
    """A line of the table."""
    cells = [result.streams, result.detector]
    for change in CHANGES[:2]:
        quartiles = result.delays[change]
        told = "{1:.0f} ({0:.0f}-{2:.0f})".format(*quartiles) if quartiles else "-"
        cells += [told, f"{100 * result.missed[change]:.0f}"]
    rate = f"{100 * result.alarms / result.chances:.2f} [{100 * result.low:.2f}, {100 * result.high:.2f}]"
    asked = "-" if result.asked is None else f"{100 * result.asked:g}"
    kept = {True: "yes", False: "NO", None: "-"}[result.kept]
    return [*cells, f"{result.alarms} / {result.chances:,} {result.per}s", rate, asked, kept]


def main() -> int:
    """Print the table; 1 where a rate that was asked for is passed by more than twice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=100, help="of each kind and change")
    parser.add_argument("--json", action="store_true", help="print results as JSON")
    given = parser.parse_args()
    settle()
    results = [measure(kind, name, given.streams) for kind, names in WATCHED.items() for name in names]
    if given.json:
        print(json.dumps([asdict(result) for result in results]))
    else:
        head = ["streams", "detector", "abrupt: delay", "missed %", "gradual: delay", "missed %"]
        head += ["false alarms", "% [95 %]", "asked %", "within 2x"]
        print(f"{given.streams} streams of {LENGTH:,} values per row and change; delay: median (quartiles)\n")
        print(table(head, [row(result) for result in results]))
    return int(any(result.kept is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
