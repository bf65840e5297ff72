"""Where examples come in: files, folders and pipes, as rows with offsets.

`open_stream` chooses by the name; `encoding` is the journal's form of a row, `validation` says
whether a row can be learned. Each name is loaded when it is first used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenuto.streams.curriculum import paced
    from tenuto.streams.opening import FORMATS, open_stream
    from tenuto.streams.pacing import Backlog, LevelUp, Pacing
    from tenuto.streams.source import Chunk, Stream

_HOMES = {
    "FORMATS": "opening",
    "open_stream": "opening",
    "Chunk": "source",
    "Stream": "source",
    "paced": "curriculum",
    "Backlog": "pacing",
    "LevelUp": "pacing",
    "Pacing": "pacing",
}

__all__ = ["FORMATS", "Backlog", "Chunk", "LevelUp", "Pacing", "Stream", "open_stream", "paced"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tenuto.streams' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tenuto.streams.{_HOMES[name]}"), name)
