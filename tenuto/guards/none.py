"""Keeps every update, finite or not: for measuring what guarding costs."""

from __future__ import annotations

from tenuto.types import KEEP, State, Trace, Verdict


class Unguarded:
    """Keep everything."""

    def judge(self, trace: Trace) -> Verdict:
        """Always keep."""
        return KEEP

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


def guard() -> Unguarded:
    """The guard that lets everything pass."""
    return Unguarded()
