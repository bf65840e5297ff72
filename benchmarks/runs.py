"""Runs of a benchmark, each kept as soon as it is done, so that an interrupted command goes on from there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenuto.studies.results import Found, Results


@dataclass(frozen=True, slots=True)
class About:
    """What a run is about, as JSON holds it: a run under other settings is another."""

    plain: dict[str, Any]

    @property
    def key(self) -> str:
        """What tells it from other runs."""
        return json.dumps(self.plain, sort_keys=True)

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return self.plain


class Runs:
    """Runs by what they are about.

    Args:
        path: a file of JSON lines; None: they are kept nowhere.
    """

    def __init__(self, path: Path | None) -> None:
        self._results = None if path is None else Results(path, About)

    def get(self, about: dict[str, Any], make: Callable[[], Found]) -> Found:
        """What the run that this is about gave, made where it is not there yet."""
        if self._results is None:
            return make()
        job = About(about)
        found = self._results.of(job)
        if found is None:
            found = make()
            self._results.add(job, found)
        return found
