"""Poison of a language model in a session: it lies aside with the reason, and leaves memory."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tenuto import OnlineExample, OnlineLearnerConfig, Session
from tenuto.adapters.lora import adapt
from tenuto.models.language import LanguageModel
from tenuto.session import recovery
from tenuto.store import survey
from tests import language

CONFIG = OnlineLearnerConfig(
    task="language",
    optimizer="adamw",
    learning_rate=0.02,
    batch_size=1,
    boundaries="none",
    guard="finite+poisoning",
)
LEARN = {"contradictions": "learn", "commit_every": 20}


def model() -> LanguageModel:
    base = language.base()
    base.model.layers = base.model.layers[:1]
    return LanguageModel(adapt(base, seed=0))


def told(number: int, sender: str, count: int) -> OnlineExample:
    return msgspec.structs.replace(language.rows()[number], id=f"{sender}-{number}-{count}", principal=sender)


def test_what_a_convicted_sender_sent_is_set_apart_and_told(tmp_path: Path) -> None:
    honest = [told(number, f"h{count % 3}", count) for count in range(45) for number in (0, 1)]
    lies = [
        msgspec.structs.replace(
            language.row(language.FACTS[number][0], " purple"), id=f"lie-{count}", principal="bad"
        )
        for count, number in enumerate((1, 0, 0, 0, 0, 0))
    ]
    with Session(tmp_path, model(), CONFIG, method="ogp_lora", settings=LEARN) as session:
        session.ingest([*honest, *lies])
        session.run()
        assert session.learner.guard.guards["poisoning"].convicted == ["bad"]
        apart = {row.id: row for row in survey.aside(session.home, 20)}
        assert sorted(apart) == [f"lie-{count}" for count in range(1, 6)]
        assert all("they are from bad" in row.reason for row in apart.values())
        assert session.learner.stats.refused == 5
        seqs = session.fold.memory.values()
        assert len(session.learner.memory) == len(honest) == len(set(seqs))
        assert session.home.journal.lookup("lie-0").seq not in seqs
        assert recovery.verify(session.home, session._make).holds
