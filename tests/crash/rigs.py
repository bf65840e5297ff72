"""Every rig by name, with as many stories as its count is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.crash import cuts, faults, flips, forgets, kills, lives, spoken
from tests.crash.stories import STORIES, stories

Rig = Callable[..., dict[str, Any]]


def _told(run: Rig, worth: int) -> Rig:
    """A rig over the stories: all of them once, and one more variant for every `worth` tries."""

    def told(count: int, *, workers: int, seed: int) -> dict[str, Any]:
        return run(stories(len(STORIES) * (1 + count // worth)), count, workers=workers, seed=seed)

    return told


def _spoken(count: int, *, workers: int, seed: int) -> dict[str, Any]:
    figures = kills.run(spoken.stories(1 + count // 100), count, workers=workers, seed=seed)
    return {"spoken": figures.pop("kills"), **figures}


RIGS: Mapping[str, Rig] = {
    "kills": _told(kills.run, 1000),
    "cuts": _told(cuts.run, 10_000),
    "forgets": forgets.run,
    "refusals": _told(faults.run, 500),
    "flips": _told(flips.run, 1000),
    "lives": lives.run,
    "spoken": _spoken,
}
