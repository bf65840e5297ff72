"""Provenance: remembered rows, told by the journal's entries that they came from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tenuto.memory.episodes import Episode
from tenuto.remembering import By
from tenuto.session.fold import Fold
from tenuto.store.journal import Journal

__all__ = ["Answers", "By", "recalled"]

Answers = list[list[Episode]]
"""The episodes that answer each row of a query."""


def recalled(fold: Fold, journal: Journal, query: Any, count: int = 5, by: By = "features") -> Answers:
    """What a fold's learner recalls of each row of a query, with the ids of the entries."""
    found, held = fold.learner.recall(query, count, by=by), fold.memory
    seqs = {held[episode.slot] for answer in found for episode in answer}
    ids = {entry.seq: entry.id for entry in journal.fetch(seqs)}
    return [[replace(episode, id=ids.get(held[episode.slot])) for episode in answer] for answer in found]
