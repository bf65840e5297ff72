"""A clock decides when, the journal remembers: what a scheduler called for is learned again without one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tenuto import Learner, OnlineExample, OnlineLearnerConfig, Session, SessionConfig
from tenuto.consolidation import ConsolidationScheduler, Reason
from tenuto.session import recovery
from tenuto.session.blueprint import Blueprint
from tenuto.store.home import Home
from tenuto.store.records import Entry, Step

CONFIG = {"hidden": [8], "memory_size": 20, "batch_size": 5, "learning_rate": 0.05, "sleep_updates": 4}


def rows(count: int) -> list[OnlineExample]:
    inputs = np.random.default_rng(3).normal(size=(count, 4)).astype(np.float32)
    return [OnlineExample(input=x, target=int(x[0] > 0), id=f"r{i}") for i, x in enumerate(inputs)]


def test_what_the_clock_called_for_needs_no_clock_again(tmp_path: Path) -> None:
    """The clock runs, is set back, leaps ahead by an age and comes home; the home resumes bit for bit."""
    scheduler = ConsolidationScheduler(idle=30.0, hour=3.0)
    settings = SessionConfig(commit_every=3, snapshot_every=1000)
    made, reasons = rows(100), []
    clock = [0.0, 10.0, 50.0, 5.0, 6.0, 50.0, 3.1 * 3600, 1e12, 20.0, 60.0]
    with Session(tmp_path, config=CONFIG, method="hybrid", settings=settings) as session:
        for turn, now in enumerate(clock):
            if turn % 2 == 0:
                session.ingest(made[10 * turn : 10 * turn + 12])
                session.run()
            before = [entry.seq for entry in ordered(session)]
            if reason := session.rest(scheduler, now):
                reasons.append(reason)
                assert len(ordered(session)) == len(before) + 1
        assert [entry.plain() for entry in ordered(session)] == [
            {"cause": reason.cause, "found": reason.found} for reason in reasons
        ]
        assert {reason.cause for reason in reasons} == {"idle", "hour"}
        verdicts = session.home.ledger.verdicts()
        assert {name: n for name, n in verdicts.items() if name != "keep"} == Counter(
            f"consolidate: {reason.cause}" for reason in reasons
        )
        assert session.learner.stats.consolidations == len(reasons)
        digest = session.learner.digest()
    with Home.view(tmp_path) as view:
        found = recovery.verify(view, Blueprint.of(view.config).maker(None))
        assert found.holds
        assert (found.first, found.compared > len(reasons)) == (0, True)
        assert recovery.recover(view, Blueprint.of(view.config).maker(None))[0].learner.digest() == digest


def ordered(session: Session) -> list[Entry]:
    """The rests in the journal."""
    return [entry for entry in session.home.journal.commands() if entry.kind == "consolidate"]


def test_the_reason_is_durable_before_anything_acts_on_it(tmp_path: Path) -> None:
    class Broken(RuntimeError):
        pass

    def breaks(step: Step) -> None:
        if step.verdict.startswith("consolidate"):
            raise Broken

    digests = []
    for name in ("broken", "whole"):
        scheduler = ConsolidationScheduler(idle=5.0)
        session = Session(tmp_path / name, config=CONFIG, method="er")
        session.ingest(rows(33))
        session.run()
        assert session.rest(scheduler, 0.0) is None
        if name == "whole":
            assert session.rest(scheduler, 10.0) is not None
        else:
            with pytest.raises(Broken):
                session.rest(scheduler, 10.0, breaks)
            assert [entry.plain()["cause"] for entry in ordered(session)] == ["idle"]
            session.home.close()
            session = Session(tmp_path / name)
            session.run()
            assert session.learner.stats.consolidations == 1
        digests.append(session.learner.digest())
        session.close()
    assert digests[0] == digests[1]


def test_a_rest_counts_rows_and_drifts_anew(tmp_path: Path) -> None:
    scheduler = ConsolidationScheduler(rows=30, drifts=1)
    config = {**CONFIG, "classes": [0, 1], "drift": "page_hinkley", "drift_answers": []}
    made = rows(600)
    with Session(tmp_path, config=config, method="er") as session:
        session.ingest(made[:33])
        session.run()
        assert session.rest(scheduler, 0.0) == Reason(cause="rows", found="30 rows were learned")
        assert session.learner.examples == 33, "a rest takes an incomplete batch along"
        assert session.rest(scheduler, 1.0) is None
        turned = [msgspec.structs.replace(row, target=1 - row.target) for row in made[300:]]
        session.ingest([*made[33:300], *turned])
        session.run()
        found = session.home.ledger.verdicts().get("drift: page_hinkley", 0)
        assert found, "no drift was found"
        reason = session.rest(scheduler, 2.0)
        assert reason is not None
        assert reason.cause == "drift"
        assert session.rest(scheduler, 3.0) is None


def test_without_rest_the_learner_is_another(tmp_path: Path) -> None:
    config = OnlineLearnerConfig.of(CONFIG)
    rested, restless = (Learner(config=config, method="er") for _ in range(2))
    for i, row in enumerate(rows(60)):
        for learner in (rested, restless):
            learner.learn_one(row)
        if i == 30:
            rested.consolidate()
    assert rested.digest() != restless.digest()
