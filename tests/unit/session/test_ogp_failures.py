"""What may go wrong with a protected language model in a session, and what is done about it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import torch

from tenuto import OnlineExample, OnlineLearnerConfig, Session
from tenuto.adapters.lora import adapt
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel, answer, code
from tenuto.session import recovery
from tenuto.store import survey
from tests import language

CONFIG = OnlineLearnerConfig(
    task="language",
    optimizer="adamw",
    learning_rate=0.01,
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
    honest = [told(number, f"h{count % 3}", count) for count in range(70) for number in (0, 1)]
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


def test_a_climb_of_what_is_replayed_is_answered_by_going_back_to_the_last_checkpoint(tmp_path: Path) -> None:
    """The weights are spoiled behind its back: the journal knows nothing of it."""
    rows = [told(0, "h", count) for count in range(110)]
    config = CONFIG.but({"guard": "finite+divergence", "memory_size": 8, "learning_rate": 1e-6})
    options = {"ratio": 0.5, "checkpoint": 20}
    with Session(tmp_path, language.model(), config, method="ogp_lora", options=options) as session:
        session.ingest(rows[:90])
        session.run()
        assert [row.k for row in session.home.snapshots.list()][:2] == [80, 60]
        sound = session.home.ledger.steps(limit=1000)[-1].loss
        with torch.no_grad():
            for weight in session.learner.body.params.values():
                weight.mul_(1000.0)
        session.ingest(rows[90:])
        session.run()
        steps = [step.verdict for step in session.home.ledger.steps(limit=1000)]
        (told_of,) = [verdict for verdict in steps if verdict.startswith("rolled back")]
        assert "the replayed rows' loss rose to" in told_of
        assert session.learner.config.learning_rate == 5e-7
        assert session.learner.stats.examples == len(rows), "a row is lost"
        assert abs(session.home.ledger.steps(limit=1000)[-1].loss - sound) < 0.2


def test_what_is_forgotten_all_the_same_freezes_the_learner_and_takes_it_back(tmp_path: Path) -> None:
    """Held out: what the model itself says after 400 beginnings. Noise is then learned at a wild rate."""
    base, draws = model(), np.random.default_rng(0)
    asked = draws.integers(3, 500, (400, 6))
    blank = np.stack([code([([1, *row], False), ([0], True)], 8) for row in asked.tolist()])
    with torch.no_grad():
        said = base(torch.from_numpy(blank)).argmax(-1)[:, 0].tolist()
    held = [
        (code([([1, *row], False), ([word], True)], language.ROOM), word)
        for row, word in zip(asked.tolist(), said, strict=True)
    ]
    rows = [OnlineExample(input=row, target=answer(row, language.ANSWER)) for row, _ in held]
    config = CONFIG.but({"guard": "finite+retention"})
    settings = {"freeze": "return", "contradictions": "learn"}
    with Session(tmp_path, model(), config, method="ogp_lora", settings=settings) as session:
        session.ingest([told(0, "h", 0)])
        session.audit(stack(rows), every=session.learner.recipe.audit)
        session.audit(stack(rows))
        good = session.learner.digest()
        wild = [told(number % 3, "w", number) for number in range(60)]
        session.ingest(wild)
        session.run()
        session.audit(stack(rows))
        assert not session.frozen
        assert session.learner.digest() == good
        assert session.fold.cursor.is_aside(session.home.journal.lookup(wild[0].id).seq)
        session.ingest([told(1, "h", 1)])
        assert session.run() == 1
        assert session.learner.stats.examples == 2
