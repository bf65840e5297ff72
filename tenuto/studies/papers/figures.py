"""What the papers report, in percent: the average accuracy after the last context over all contexts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tenuto.studies.papers.protocols import PROTOCOLS

Figures = Mapping[str, tuple[float, ...]]
"""By method: one figure where it keeps no memory, else one per size of memory."""

TABLES: Mapping[str, Figures] = {
    "p-mnist": {
        "joint": (94.33,),
        "SGD": (40.70,),
        "online EWC": (75.79,),
        "SI": (65.86,),
        "ER": (72.37, 80.60, 89.90),
        "GEM": (66.93, 76.88, 87.42),
        "A-GEM": (66.42, 67.56, 73.32),
        "GSS": (63.72, 76.00, 82.22),
        "DER": (81.74, 87.29, 91.66),
        "DER++": (83.58, 88.21, 92.26),
    },
    "r-mnist": {
        "joint": (95.76,),
        "SGD": (67.66,),
        "online EWC": (77.35,),
        "SI": (71.91,),
        "ER": (85.01, 88.91, 93.45),
        "GEM": (80.80, 81.15, 88.57),
        "A-GEM": (81.91, 80.31, 80.18),
        "GSS": (79.50, 81.58, 85.24),
        "DER": (90.04, 92.24, 94.14),
        "DER++": (90.43, 92.77, 94.65),
    },
    "s-mnist": {
        "joint": (95.57,),
        "SGD": (19.60,),
        "online EWC": (20.46,),
        "SI": (19.27,),
        "ER": (80.43, 86.12, 93.40),
        "MER": (81.47, 88.35, 94.57),
        "GEM": (80.11, 85.99, 95.11),
        "A-GEM": (45.72, 46.66, 54.24),
        "GSS": (38.90, 49.76, 89.39),
        "DER": (84.55, 90.54, 94.90),
        "DER++": (85.61, 91.00, 95.30),
    },
    "p-mnist-10": {
        "EWC": (89.97,),
        "A-GEM": (83.56,),
        "ER": (87.24,),
        "GPM": (93.91,),
        "TRGP": (96.34,),
        "CUBER": (97.25,),
    },
}
OURS: Mapping[str, tuple[str, ...]] = {"p-mnist-10": ("joint", "SGD", "DER++", "hybrid")}
"""Rows that no paper of the table has: the bounds, and our own combination."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table.

    Args:
        protocol: the name of one of PROTOCOLS.
        method: as the paper spells it.
        buffer: rows of memory; None: none, or the setting's own.
        paper: the paper's figure in percent; None: it has none.
    """

    protocol: str
    method: str
    buffer: int | None
    paper: float | None


def lines(protocol: str) -> Iterator[Line]:
    """Every line of a protocol's table, in the paper's order.

    >>> [line.paper for line in lines("p-mnist") if line.method == "DER++"]
    [83.58, 88.21, 92.26]
    """
    for method in OURS.get(protocol, ()):
        yield Line(protocol, method, None, None)
    for method, reached in TABLES[protocol].items():
        sizes = PROTOCOLS[protocol].buffers if len(reached) > 1 else (None,)
        for size, figure in zip(sizes, reached, strict=True):
            yield Line(protocol, method, size, figure)
