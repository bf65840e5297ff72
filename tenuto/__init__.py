"""tenuto: a model keeps learning from a stream and keeps what it knew.

Importing tenuto imports no torch; each name is loaded when it is first used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenuto.config import OnlineLearnerConfig, SessionConfig
    from tenuto.errors import TenutoError
    from tenuto.learner import Learner
    from tenuto.memory import ReplayBuffer
    from tenuto.methods import Recipe, Replay
    from tenuto.reports import ConsolidationReport, DriftReport, OnlineLearnerStats
    from tenuto.session import Session
    from tenuto.streams import open_stream
    from tenuto.types import Batch, OnlineExample, Prediction, Trace, Verdict

__version__ = "0.1.0"

_HOMES = {
    "Batch": "types",
    "ConsolidationReport": "reports",
    "DriftReport": "reports",
    "Learner": "learner",
    "OnlineExample": "types",
    "OnlineLearnerConfig": "config",
    "OnlineLearnerStats": "reports",
    "Prediction": "types",
    "Recipe": "methods",
    "Replay": "methods",
    "ReplayBuffer": "memory",
    "Session": "session",
    "SessionConfig": "config",
    "TenutoError": "errors",
    "Trace": "types",
    "Verdict": "types",
    "open_stream": "streams",
}

__all__ = [
    "Batch",
    "ConsolidationReport",
    "DriftReport",
    "Learner",
    "OnlineExample",
    "OnlineLearnerConfig",
    "OnlineLearnerStats",
    "Prediction",
    "Recipe",
    "Replay",
    "ReplayBuffer",
    "Session",
    "SessionConfig",
    "TenutoError",
    "Trace",
    "Verdict",
    "open_stream",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tenuto' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tenuto.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
