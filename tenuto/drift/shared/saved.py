"""Saved numbers, taken back by a detector whose state is its own fields by name."""

from __future__ import annotations

from tenuto.protocols import DriftDetector
from tenuto.types import State


def take(detector: DriftDetector, state: State) -> None:
    """Set each field that the detector saves; where one is missing, KeyError with nothing changed."""
    for name, value in {name: state[name] for name in detector.state()}.items():
        setattr(detector, f"_{name}", value)
