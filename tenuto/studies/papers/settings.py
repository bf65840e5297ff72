"""What each method is given on each protocol.

The papers' own hyper-parameters where they carry over. Where they do not (another scale of importance,
another form of a step), and wherever another is better, by `tenuto bench papers --tune`: on rows held out of
the training rows and with seeds that no table reports. No choice sees a test row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenuto.studies.papers.figures import Line
from tenuto.studies.papers.protocols import Setting

Sized = Mapping[int | None, Setting]
"""By rows of memory; under None what holds for every size that is not named."""


def _at(method: str, rate: float, options: Mapping[str, Any] | None = None, /, **config: Any) -> Setting:
    return Setting(method=method, options=options or {}, config={"learning_rate": rate, **config})


def _joint(rate: float, **config: Any) -> Sized:
    return {None: Setting(method="naive", config={"learning_rate": rate, **config}, mixed=True)}


SETTINGS: Mapping[str, Mapping[str, Sized]] = {
    "p-mnist": {
        "joint": _joint(0.2),
        "SGD": {None: _at("naive", 0.2)},
        "online EWC": {None: _at("ewc", 0.2, {"strength": 3.0, "gamma": 1.0})},
        "SI": {None: _at("si", 0.1, {"c": 0.5, "xi": 1.0})},
        "ER": {None: _at("er", 0.2)},
        "GEM": {None: _at("gem", 0.1, {"margin": 0.5})},
        "A-GEM": {5120: _at("agem", 0.1, {"rows": 256}), None: _at("agem", 0.1, {"rows": 128})},
        "GSS": {None: _at("gss", 0.2)},
        "DER": {
            200: _at("der", 0.2, {"alpha": 1.0}),
            None: _at("der", 0.2, {"alpha": 0.5}),
        },
        "DER++": {
            200: _at("derpp", 0.1, {"alpha": 1.0, "beta": 1.0}),
            500: _at("derpp", 0.2, {"alpha": 1.0, "beta": 0.5}),
            5120: _at("derpp", 0.2, {"alpha": 0.5, "beta": 1.0}),
        },
    },
    "r-mnist": {
        "joint": _joint(0.2),
        "SGD": {None: _at("naive", 0.2)},
        "online EWC": {None: _at("ewc", 0.1, {"strength": 10.0, "gamma": 1.0})},
        "SI": {None: _at("si", 0.1, {"c": 1.0, "xi": 1.0})},
        "ER": {None: _at("er", 0.2)},
        "GEM": {None: _at("gem", 0.1, {"margin": 0.5})},
        "A-GEM": {5120: _at("agem", 0.1, {"rows": 256}), None: _at("agem", 0.1, {"rows": 128})},
        "GSS": {None: _at("gss", 0.2)},
        "DER": {None: _at("der", 0.2, {"alpha": 0.5})},
        "DER++": {
            200: _at("derpp", 0.1, {"alpha": 1.0, "beta": 0.5}),
            500: _at("derpp", 0.2, {"alpha": 0.5, "beta": 1.0}),
            5120: _at("derpp", 0.2, {"alpha": 0.5, "beta": 0.5}),
        },
    },
    "s-mnist": {
        "joint": _joint(0.1),
        "SGD": {None: _at("naive", 0.03)},
        "online EWC": {None: _at("ewc", 0.03, {"strength": 100.0, "gamma": 1.0})},
        "SI": {None: _at("si", 0.1, {"c": 1.0, "xi": 0.9})},
        "ER": {200: _at("er", 0.01), None: _at("er", 0.1)},
        "MER": {None: _at("mer", 0.1, {"gamma": 1.0, "rows": 128, "group": 129}, batch_size=1)},
        "GEM": {None: _at("gem", 0.03, {"margin": 1.0})},
        "A-GEM": {None: _at("agem", 0.1, {"rows": 128})},
        "GSS": {None: _at("gss", 0.1)},
        "DER": {
            200: _at("der", 0.03, {"alpha": 0.2}),
            500: _at("der", 0.03, {"alpha": 1.0}),
            5120: _at("der", 0.1, {"alpha": 0.5}),
        },
        "DER++": {
            200: _at("derpp", 0.03, {"alpha": 0.2, "beta": 1.0}),
            500: _at("derpp", 0.03, {"alpha": 1.0, "beta": 0.5}),
            5120: _at("derpp", 0.1, {"alpha": 0.2, "beta": 0.5}),
        },
    },
    "p-mnist-10": {
        "joint": _joint(0.01),
        "SGD": {None: _at("naive", 0.01)},
        "DER++": {
            None: _at(
                "derpp",
                0.03,
                {"alpha": 0.5, "beta": 1.0},
                batch_size=32,
                memory_size=50_000,
                replay_ratio=0.8,
            )
        },
        "hybrid": {
            None: _at(
                "hybrid", 0.03, {"strength": 10.0, "gamma": 1.0, "distil": 1.0, "gpm": True}, memory_size=1000
            )
        },
        "EWC": {None: _at("ewc", 0.01, {"strength": 100.0, "mode": "original"})},
        "A-GEM": {None: _at("agem", 0.01, {"rows": 64}, memory_size=1000)},
        "ER": {None: _at("er", 0.01, memory_size=1000)},
        "GPM": {None: _at("gpm", 0.01)},
    },
}
"""By protocol and method as the paper spells it; a method that is not there is not run."""

GRIDS: Mapping[str, Mapping[str, list[Any]]] = {
    "joint": {"learning_rate": [0.03, 0.1, 0.2]},
    "SGD": {"learning_rate": [0.03, 0.1, 0.2]},
    "ER": {"learning_rate": [0.03, 0.1, 0.2]},
    "EWC": {"learning_rate": [0.01, 0.03], "strength": [3.0, 30.0, 300.0, 3000.0]},
    "online EWC": {"learning_rate": [0.1, 0.2], "strength": [3.0, 10.0, 30.0], "gamma": [0.9, 1.0]},
    "SI": {"learning_rate": [0.03, 0.1], "c": [0.1, 0.3, 1.0, 3.0], "xi": [0.1, 1.0]},
    "MER": {"learning_rate": [0.03, 0.1], "rows": [64, 128], "gamma": [0.5, 1.0]},
    "GEM": {"learning_rate": [0.01, 0.03, 0.1], "margin": [0.0, 0.5, 1.0]},
    "A-GEM": {"learning_rate": [0.01, 0.03, 0.1, 0.2]},
    "GSS": {"learning_rate": [0.03, 0.1, 0.2]},
    "GPM": {"learning_rate": [0.01, 0.03]},
    "hybrid": {"learning_rate": [0.01, 0.03, 0.1], "strength": [0.0, 10.0, 100.0], "gpm": [False, True]},
    "DER": {"learning_rate": [0.03, 0.1, 0.2], "alpha": [0.3, 0.5, 1.0]},
    "DER++": {"learning_rate": [0.03, 0.1, 0.2], "alpha": [0.3, 0.5, 1.0], "beta": [0.5, 1.0]},
}
"""What `--tune` tries of each method beside its own setting: settings of the learner, and options."""


def setting(line: Line) -> Setting | None:
    """What a line's method is given; None where it is not run."""
    sized = SETTINGS.get(line.protocol, {}).get(line.method, {})
    return sized.get(line.buffer, sized.get(None))
