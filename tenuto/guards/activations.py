"""Takes rows out of a step that a layer answers on another scale than it is used to.

    z = (log rms(h) - median) / (1.4826 MAD) > spreads, over the last 512 rows that were learned

for the outputs h of every layer with weights, before the update. A sensor that reads millivolts for volts,
a broken preprocessing, a row of garbage: EVICT names these rows, and the rest of the batch is learned. What
is not finite goes too.

Error rate: were log rms Gaussian, P(z > 8) is below 1e-10 with 64 rows in the history. The spread believed is
never less than a quarter, so that a row must be e^2 = 7.4 times as large as usual behind some layer; a new
class moves it by less. What stays is the new usual: after `patience` such rows in a row the history starts
again and 64 rows pass unjudged, so that no stream is refused for ever. `python -m benchmarks.guards` measures
what is found, and what is refused wrongly.
"""

from __future__ import annotations

import math
from typing import Annotated

from tenuto.config import Limits
from tenuto.guards.shared.history import History
from tenuto.types import KEEP, Ruling, State, Trace, Verdict

WINDOW, FIRST, LEAST = 512, 64, 0.25
"""Rows remembered; rows before the first judgement; the least spread believed of a logarithm."""


class Activations:
    """Evict rows of another scale."""

    reads_activations = True

    def __init__(self, spreads: float, patience: int) -> None:
        self._spreads, self._patience = spreads, patience
        self._layers: dict[str, History] = {}
        self._odd = 0

    def judge(self, trace: Trace) -> Verdict:
        """Evict rows that stand out; note those that are learned."""
        rows = trace.batch.fresh
        levels = {
            name: [math.log(max(x, 1e-30)) if math.isfinite(x) else math.inf for x in sizes[:rows].tolist()]
            for name, sizes in trace.estimate.sites.items()
            if len(sizes) == len(trace.batch)
        }
        odd = {row: found for row in range(rows) if (found := self._unusual(levels, row))}
        if not odd:
            self._odd = 0
            for name, values in levels.items():
                for value in values:
                    self._layers.setdefault(name, History(WINDOW, least=LEAST)).note(value)
            return KEEP
        self._odd += len(odd)
        if self._odd >= self._patience:
            self._layers, self._odd = {}, 0
        row, (name, z) = max(odd.items(), key=lambda item: item[1][1])
        where = f"row {row} of step {trace.step} is {z:.1f} deviations above the usual behind {name}"
        return Verdict(Ruling.EVICT, where, rows=tuple(odd))

    def _unusual(self, levels: dict[str, list[float]], row: int) -> tuple[str, float] | None:
        """The layer behind which a row stands out most, and by how much."""
        found = [
            (name, history.z(values[row]))
            for name, values in levels.items()
            if (history := self._layers.get(name)) is not None and len(history) >= FIRST
        ]
        found += [(name, math.inf) for name, values in levels.items() if math.isinf(values[row])]
        name, z = max(found, key=lambda item: item[1], default=("", 0.0))
        return (name, z) if z > self._spreads else None

    def state(self) -> State:
        """The history of each layer, and the rows evicted in a row."""
        return {"layers": {name: h.state() for name, h in self._layers.items()}, "odd": self._odd}

    def load_state(self, state: State) -> None:
        """Take saved histories."""
        layers = {name: History(WINDOW, least=LEAST) for name in state["layers"]}
        for name, history in layers.items():
            history.load_state(state["layers"][name])
        self._layers, self._odd = layers, int(state["odd"])


def guard(
    spreads: Annotated[float, Limits(low=1.0, usual=(6.0, 12.0), unit="standard deviations")] = 8.0,
    patience: Annotated[int, Limits(low=1, usual=(20, 500), unit="rows")] = 100,
) -> Activations:
    """The activation statistics.

    Args:
        spreads: how far above its median the logarithm of a row's size may lie behind a layer.
        patience: rows evicted in a row after which what is large counts as usual.

    >>> guard().state()
    {'layers': {}, 'odd': 0}
    """
    return Activations(spreads, patience)
