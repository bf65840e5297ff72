"""What a verb that wakes the learner does first, and how it opens one beside a writer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tenuto.learner import Learner
from tenuto.session.blueprint import Blueprint
from tenuto.store.home import Home
from tenuto.studies import process


def settle() -> None:
    """Settle the process, and let models be found in the current directory."""
    process.settle()
    sys.path.append(os.getcwd())


def maker(home: Home) -> Callable[[], Learner]:
    """Makes the learner of a home."""
    return Blueprint.of(home.config).maker(None)
