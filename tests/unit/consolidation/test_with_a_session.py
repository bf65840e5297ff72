"""A clock decides when, the journal remembers: what a scheduler called for is learned again without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tenuto import Learner, OnlineExample, OnlineLearnerConfig, Session, SessionConfig
from tenuto.consolidation import ConsolidationScheduler
from tenuto.session import recovery
from tenuto.session.blueprint import Blueprint
from tenuto.store.home import Home

CONFIG = {"hidden": [8], "memory_size": 20, "batch_size": 5, "learning_rate": 0.05}


def rows(count: int) -> list[OnlineExample]:
    inputs = np.random.default_rng(3).normal(size=(count, 4)).astype(np.float32)
    return [OnlineExample(input=x, target=int(x[0] > 0), id=f"r{i}") for i, x in enumerate(inputs)]


def test_what_the_clock_called_for_needs_no_clock_again(tmp_path: Path) -> None:
    scheduler = ConsolidationScheduler(idle=30.0, hour=3.0)
    settings = SessionConfig(commit_every=3, snapshot_every=1000)
    reasons, made = [], rows(100)
    clock = [0.0, 10.0, 50.0, 5.0, 6.0, 50.0, 3.1 * 3600, 1e12, 20.0, 60.0]
    with Session(tmp_path, config=CONFIG, method="ewc", settings=settings) as session:
        for turn, now in enumerate(clock):
            if turn % 2 == 0:
                session.ingest(made[10 * turn : 10 * turn + 12])
                before = session.learner.examples
                session.run()
                scheduler.seen(session.learner.examples - before, now)
            if reason := scheduler.due(now):
                reasons.append(reason.cause)
                session.consolidate()
                scheduler.rested(now)
        ordered = [entry for entry in session.home.journal.commands() if entry.kind == "consolidate"]
        assert len(ordered) == session.learner.stats.consolidations == len(reasons)
        assert set(reasons) == {"idle", "hour"}
        digest = session.learner.digest()
    with Home.view(tmp_path) as view:
        found = recovery.verify(view, Blueprint.of(view.config).maker(None))
        assert found.holds
        assert (found.first, found.compared > len(reasons)) == (0, True)
        assert recovery.recover(view, Blueprint.of(view.config).maker(None))[0].learner.digest() == digest


def test_without_rest_the_learner_is_another(tmp_path: Path) -> None:
    config = OnlineLearnerConfig.of(CONFIG)
    rested, restless = (Learner(config=config, method="ewc") for _ in range(2))
    for i, row in enumerate(rows(60)):
        for learner in (rested, restless):
            learner.learn_one(row)
        if i == 30:
            rested.consolidate()
    assert rested.digest() != restless.digest()
