"""Stories of a language model: corrections learned by an adapter on the tiny Llama, by every kind of method.

They are told where the shared data is; without it there are none.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from tenuto.config import OnlineLearnerConfig, SessionConfig
from tenuto.types import OnlineExample
from tests import language
from tests.crash.acts import Consolidate, Flush, Forget, Ingest, Reopen, Run, Take
from tests.crash.stories import Story

METHODS = ("hybrid", "naive", "er", "ewc", "anchored")
"""The first has replay and springs: a short run tries it alone."""
CONFIG = OnlineLearnerConfig(
    task="language",
    optimizer="adamw",
    learning_rate=5e-3,
    memory_size=4,
    batch_size=1,
    passes=2,
    stop_loss=0.1,
    boundaries="none",
)
NAMES = ("Ann", "Ben", "Kim", "Lily", "Max", "Sam", "Sue", "Tim", "Tom")
THINGS = ("red fox", "big hat", "blue cup", "old tree", "wet dog", "toy car", "hot soup", "new ball", "cat")


class Model:
    """A model of which each session has one of its own, with what it needs to speak."""

    def __call__(self) -> Any:
        """A new one: the base, an untaught adapter, and the speech in which anchors are written."""
        model = language.model()
        model.speech = _speech()
        return model


@cache
def _speech() -> Any:
    from tenuto.models.speech import Speech

    class Base:
        tokenizer = language.tokenizer()

        def encode(self, messages: Any, *, reply: bool = False) -> list[int]:
            raise NotImplementedError("the tiny Llama has no chat template")

    return Speech(Base(), length=language.ROOM, room=language.ANSWER)


def fact(number: int) -> OnlineExample:
    """A correction unlike any other."""
    return language.row(f"{NAMES[number]} saw a", f" {THINGS[number]}", id=f"r{number}")


def facts(first: int, last: int) -> Ingest:
    """Corrections first to last - 1, in one chunk."""
    return Ingest(tuple(fact(number) for number in range(first, last)))


def correct(method: str) -> Story:
    """Corrections come, are learned and taken, a context ends, one is forgotten, the rate changes."""
    return Story(
        name=method,
        method=method,
        model=Model(),
        config=CONFIG,
        settings=SessionConfig(commit_every=2, snapshot_every=3, keep_snapshots=2),
        prelude=(facts(0, 2), Run()),
        acts=(
            facts(2, 4),
            Run(),
            Consolidate(),
            facts(4, 6),
            Take(("r3",)),
            Forget(id="r1"),
            Reopen(learning_rate=2e-3),
            facts(6, 8),
            Flush(),
        ),
    )


def stories(count: int) -> list[Story]:
    """One for each of the first `count` methods; none where the data is absent.

    A first model is made before any life is forked, so that none of them imports what it takes.
    """
    try:
        Model()()
    except pytest.skip.Exception:
        return []
    return [correct(method) for method in METHODS[:count]]
