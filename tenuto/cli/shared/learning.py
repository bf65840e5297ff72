"""What a verb that wakes the learner does first, and how it opens one beside a writer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tenuto.learner import Learner
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel
from tenuto.session.blueprint import Blueprint
from tenuto.store.home import Home
from tenuto.streams import Stream
from tenuto.studies import process
from tenuto.types import Batch

if TYPE_CHECKING:
    from tenuto.models.speech import Speech
    from tenuto.session import Session


def settle() -> None:
    """Settle the process, and let models be found in the current directory."""
    process.settle()
    sys.path.append(os.getcwd())


def maker(home: Home) -> Callable[[], Learner]:
    """Makes the learner of a home."""
    return Blueprint.of(home.config).maker(None)


def speech(session: Session) -> Speech | None:
    """How what is said becomes rows of a home's language model; None where it learns no language."""
    model = session.learner.model if session.learner.config.task == "language" else None
    return model.speech if isinstance(model, LanguageModel) else None


def batch(stream: Stream, most: int) -> Batch:
    """The first rows of a stream side by side; one that cannot be read is an error."""
    found = []
    for chunk in stream.chunks():
        for row in chunk.rows:
            if isinstance(row, Exception):
                raise row
            found.append(row)
        if len(found) >= most:
            break
    return stack(found[:most])
