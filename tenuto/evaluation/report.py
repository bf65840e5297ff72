"""What a report says, as plain data: runs, the joint-training bound, proofs, listings and facts.

Nothing is measured or drawn here: `page.render` writes it as HTML, `png.save_png` as a picture,
`table.summarise` as rows. `from_plain(to_plain(report)) == report`, and the plain form is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, isinf, isnan
from typing import TYPE_CHECKING

from tenuto.errors import ConfigError

if TYPE_CHECKING:
    from tenuto.evaluation.matrix import AccuracyMatrix

MATRIX_MEASURES = ("average_accuracy", "forgetting", "backward_transfer", "forward_transfer")
"""What a run's accuracy matrix gives, so that no run states it a second time."""
_RESERVED = ("method", "bound", "seeds")


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One line of a chart.

    Args:
        x: (n,) ascending positions, as rows seen.
        y: (n,) values; None where not measured, which leaves a gap.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
        marks: the x at which something was noticed, as a drift; drawn as ticks at the foot.
        boundaries: the x at which each context after the first begins.
    """

    x: tuple[float, ...]
    y: tuple[float | None, ...]
    x_label: str
    y_label: str
    marks: tuple[float, ...] = ()
    boundaries: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", tuple(float(v) for v in self.x))
        object.__setattr__(self, "y", tuple(None if v is None or isnan(v) else float(v) for v in self.y))
        object.__setattr__(self, "marks", tuple(float(v) for v in self.marks))
        object.__setattr__(self, "boundaries", tuple(float(v) for v in self.boundaries))
        if len(self.x) != len(self.y) or not self.x:
            raise ConfigError(
                f"a curve of {len(self.x)} x and {len(self.y)} y: give as many of each, at least 1"
            )
        placed = (*self.x, *self.marks, *self.boundaries)
        if not all(isfinite(v) for v in placed) or list(self.x) != sorted(self.x):
            raise ConfigError(
                f"the curve of {self.y_label!r}: x must ascend, x, marks and boundaries be finite"
            )
        if any(v is not None and isinf(v) for v in self.y):
            raise ConfigError(f"the curve of {self.y_label!r} is infinite somewhere: leave such a y None")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One method on one seed.

    Args:
        method: its name; runs of one name are one method's seeds.
        seed: what its randomness was drawn from.
        matrix: the accuracies it reached, or None where contexts were not told apart.
        curves: charts by title.
        measures: further figures by name, as progressive_accuracy, retention_bits, calibration_error.
    """

    method: str
    seed: int
    matrix: AccuracyMatrix | None = None
    curves: Mapping[str, Curve] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.measures.items():
            if not isfinite(value):
                raise ConfigError(f"{self}: measure {name} is {value}; leave out what was not measured")
            if name in _RESERVED:
                raise ConfigError(f"{self}: no measure may be called {name}; it names a column of its own")
            if self.matrix is not None and name in MATRIX_MEASURES:
                raise ConfigError(f"{self}: measure {name} is given by the matrix; leave it out")

    def __str__(self) -> str:
        return f"run {self.method!r}, seed {self.seed}"

    @property
    def figures(self) -> dict[str, float]:
        """Every measure by name: the matrix's and the run's own."""
        of_matrix = {name: getattr(self.matrix, name, None) for name in MATRIX_MEASURES}
        return {name: value for name, value in of_matrix.items() if value is not None} | dict(self.measures)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """A claim put to the test: what was claimed, whether it held, the evidence, as two digests."""

    title: str
    holds: bool
    evidence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A table of texts.

    Args:
        title: its heading.
        head: a heading per column; all empty for none.
        rows: a text per column.
        shares: a share in [0, 1] per row, drawn as a bar behind it; () for none.
        note: what is to be said of it.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()
    shares: tuple[float, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", tuple(self.head))
        object.__setattr__(self, "rows", tuple(tuple(row) for row in self.rows))
        object.__setattr__(self, "shares", tuple(float(share) for share in self.shares))
        if any(len(row) != len(self.head) for row in self.rows):
            raise ConfigError(
                f"the listing {self.title!r} has {len(self.head)} columns: give each row as many"
            )
        if self.shares and len(self.shares) != len(self.rows):
            raise ConfigError(f"the listing {self.title!r} has {len(self.rows)} rows: give as many shares")
        if not all(0 <= share <= 1 for share in self.shares):
            raise ConfigError(f"the listing {self.title!r}: shares lie in [0, 1]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that one study found.

    Args:
        title: the headline.
        subtitle: one sentence on what was run.
        runs: every method on every seed, methods in the order to show.
        joint: final accuracies of joint training, one per seed: the upper bound. None: not run.
        proofs: claims put to the test.
        listings: tables of texts, shown as they are.
        facts: the environment by name: versions, seeds, command.
        context_names: one per context, in the order learned.

    Raises:
        ConfigError: two runs share method and seed, or matrices differ in shape or from context_names.
    """

    title: str
    subtitle: str = ""
    runs: tuple[Run, ...] = ()
    joint: tuple[float, ...] | None = None
    proofs: tuple[Proof, ...] = ()
    listings: tuple[Listing, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    context_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("runs", "proofs", "listings", "context_names"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.joint is not None:
            object.__setattr__(self, "joint", tuple(float(a) for a in self.joint))
            if not self.joint or not all(0 <= a <= 1 for a in self.joint):
                raise ConfigError(f"joint is {self.joint}: give one accuracy in [0, 1] per seed, or None")
        seen: set[tuple[str, int]] = set()
        for run in self.runs:
            if (run.method, run.seed) in seen:
                raise ConfigError(f"{run} is there twice: give each seed of a method once")
            seen.add((run.method, run.seed))
            self._fit(run)

    def _fit(self, run: Run) -> None:
        if run.matrix is None:
            return
        if self.context_names and run.matrix.contexts != len(self.context_names):
            raise ConfigError(
                f"{run} has {run.matrix.contexts} contexts beside {len(self.context_names)} names"
            )
        first = next(r.matrix for r in self.runs_of(run.method) if r.matrix is not None)
        if run.matrix.values.shape != first.values.shape:
            raise ConfigError(f"{run} has a matrix {run.matrix.values.shape} beside {first.values.shape}")

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods' names, each once, in order of appearance."""
        return tuple(dict.fromkeys(run.method for run in self.runs))

    def runs_of(self, method: str) -> tuple[Run, ...]:
        """All seeds of one method."""
        return tuple(run for run in self.runs if run.method == method)

    def matrices_of(self, method: str) -> tuple[AccuracyMatrix, ...]:
        """The matrices of those of its seeds that have one."""
        return tuple(run.matrix for run in self.runs_of(method) if run.matrix is not None)

    @property
    def chart_titles(self) -> tuple[str, ...]:
        """The titles of all curves, each once, in order of appearance."""
        return tuple(dict.fromkeys(title for run in self.runs for title in run.curves))

    def curves_of(self, method: str, title: str) -> tuple[Curve, ...]:
        """One curve per seed of the method that has one of that title."""
        return tuple(run.curves[title] for run in self.runs_of(method) if title in run.curves)
