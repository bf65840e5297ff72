"""What guards rule is done: a rollback learns again, a freeze stops the cursor, evicted rows lie aside."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tenuto import Batch, Learner, OnlineExample, OnlineLearnerConfig, Session, SessionConfig
from tenuto.errors import ConfigError
from tenuto.models.inputs import stack
from tenuto.session import recovery
from tenuto.session.fold import held_out as held_out_of
from tenuto.session.oversight import Audits
from tenuto.store.records import Step
from tests import language

CONFIG = OnlineLearnerConfig(hidden=(16,), memory_size=100, batch_size=4, learning_rate=0.05, momentum=0.9)
OFTEN = SessionConfig(commit_every=7, snapshot_every=40)
SHAKEN = CONFIG.but({"guard": "finite+divergence"})
ASKED = CONFIG.but({"guard": "finite+retention", "learning_rate": 0.01})


def rows(start: int, stop: int, *, scale: float = 1.0, shift: int = 0, sender: str | None = None) -> list:
    inputs = np.random.default_rng(7).normal(size=(3000, 4)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(int) + 2 * (inputs[:, 1] > 0)
    return [
        OnlineExample(
            input=inputs[i] * scale,
            target=int(labels[i] + shift) % 4,
            id=f"{sender or 'r'}{i}",
            principal=sender,
        )
        for i in range(start, stop)
    ]


def held_out(numbers: range = range(2000, 2500)) -> Batch:
    made = rows(numbers.start, numbers.stop)
    return Batch(torch.tensor(np.stack([row.input for row in made])), [row.target for row in made])


def verdicts(session: Session) -> list[str]:
    steps = session.home.ledger.steps(limit=10_000)
    return [step.verdict for step in steps if step.verdict not in ("keep", "config")]


# Rollback --------------------------------------------------------------------------------------


def shaken(home: Path, settings: SessionConfig = OFTEN) -> Session:
    """A learner whose rate was raised too far, about to meet rows of another scale."""
    session = Session(home, config=SHAKEN, settings=settings)
    session.ingest(rows(0, 1000))
    session.run()
    session._walk.configure({"learning_rate": 2.0})
    session.ingest(rows(1000, 1400, scale=30.0))
    return session


def test_a_climb_is_answered_by_going_back_and_learning_the_rows_again_at_a_lower_rate(
    tmp_path: Path,
) -> None:
    steps: list[Step] = []
    with shaken(tmp_path) as s:
        s.run(steps.append)
        assert [step.verdict.split(":")[0] for step in steps if step.verdict[:4] == "roll"] == [
            *("rollback", "rolled back"),
            *("rollback", "rolled back"),
        ]
        assert s.learner.config.learning_rate == 0.5
        assert s.learner.stats.examples == 1400
        assert s.learner.stats.refused == 0
        assert not s.fold.cursor.aside
        assert [v for v in verdicts(s) if v.startswith("rolled back: the replayed rows' loss rose")]


def test_it_leaves_the_learner_whose_rate_was_lowered_there(tmp_path: Path) -> None:
    with shaken(tmp_path / "a") as s:
        s.run()
        (place,) = {
            (order.plain()["seq"], order.plain()["done"])
            for order in s.home.journal.commands()
            if order.kind == "rollback"
        }
        digest = s.learner.digest()
    with shaken(tmp_path / "b") as s:
        s.home.journal.command("config", {"learning_rate": 0.5}, after=place[0])
        s.run()
        assert s.learner.digest() == digest


def test_it_does_not_depend_on_when_steps_are_committed(tmp_path: Path) -> None:
    with shaken(tmp_path / "a") as s:
        s.run()
        expected = s.learner.digest()
    with shaken(tmp_path / "b", SessionConfig(commit_every=1, snapshot_every=40)) as s:
        s.run()
        assert s.learner.digest() == expected


def test_a_home_killed_at_any_step_of_it_ends_the_same_and_verifies(tmp_path: Path) -> None:
    copies: list[Path] = []

    def copy(step: Step) -> None:
        if step.verdict != "keep" or step.k in (283, 290, 299, 301):
            copies.append(tmp_path / f"copy-{len(copies)}")
            shutil.copytree(tmp_path / "home", copies[-1])
            (copies[-1] / "lock").unlink(missing_ok=True)

    with shaken(tmp_path / "home") as s:
        s.run(copy)
        digest, k = s.learner.digest(), s.k
        assert recovery.verify(s.home, s._make).holds
    assert len(copies) > 5
    for path in copies:
        with Session(path) as s:
            s.run()
            assert (s.learner.digest(), s.k) == (digest, k)
            assert recovery.verify(s.home, s._make).holds


def test_a_row_forgotten_after_a_rollback_leaves_a_home_that_verifies(tmp_path: Path) -> None:
    with shaken(tmp_path) as s:
        s.run()
        s.forget(id="r3")
        s.flush()
        assert s.learner.stats.examples == 1399
        assert recovery.verify(s.home, s._make).holds


def test_where_going_back_does_not_help_it_is_not_done_for_ever(tmp_path: Path) -> None:
    config = SHAKEN.but({"learning_rate": 2.0})
    with Session(tmp_path, config=config, settings=OFTEN) as s:
        s.ingest(rows(0, 1000))
        s.run()
        s._walk.configure({"learning_rate": 10.0})
        s.ingest(rows(1000, 1400, scale=1e4))
        s.run()
        orders = [order.plain() for order in s.home.journal.commands() if order.kind == "rollback"]
        places = [(order["seq"], order["done"]) for order in orders]
        assert orders
        assert max(map(places.count, places)) <= 3


# Freeze ----------------------------------------------------------------------------------------


def asked(home: Path) -> Session:
    session = Session(home, config=ASKED, settings=OFTEN)
    session.ingest(rows(0, 1000))
    session.run()
    return session


def test_a_learner_that_got_worse_is_frozen_and_loses_no_row(tmp_path: Path) -> None:
    with asked(tmp_path) as s:
        s.audit(held_out())
        assert not s.frozen
        s.ingest(rows(1000, 1800, shift=1))
        s.run()
        s.audit(held_out())
        assert "retention fell to" in s.frozen
        k, digest = s.k, s.learner.digest()
        s.ingest(rows(1800, 1840))
        assert s.run() == s.flush() == 0
        assert (s.k, s.learner.digest()) == (k, digest)
    with Session(tmp_path) as s:
        assert "retention fell to" in s.frozen
        s.reset()
        assert not s.frozen
        assert s.fold.cursor.is_aside(s.home.journal.lookup("r1000").seq)
        assert s.learner.stats.examples == 1040
        assert s.take(["r1000"]) == 1
        assert recovery.verify(s.home, s._make).holds


def test_where_it_is_asked_to_it_goes_back_by_itself_and_learns_on(tmp_path: Path) -> None:
    with asked(tmp_path) as s:
        s.audit(held_out())
        good, k = s.learner.digest(), s.k
    with Session(tmp_path, settings={"freeze": "return"}) as s:
        s.ingest(rows(1000, 1800, shift=1))
        s.run()
        s.audit(held_out())
        assert not s.frozen
        assert (s.k, s.learner.digest()) == (k, good)
        assert s.fold.cursor.is_aside(s.home.journal.lookup("r1000").seq)
        s.ingest(rows(1800, 1840))
        s.run()
        assert s.learner.stats.examples == 1040
        s.audit(held_out())
        assert not s.frozen
        assert recovery.verify(s.home, s._make).holds


def test_answers_of_language_are_audited_token_by_token() -> None:
    learner = Learner(language.model(), OnlineLearnerConfig(task="language", guard="retention"), method="er")
    made = [language.row(*language.FACTS[number % 3]) for number in range(400)]
    batch = stack(made)
    task, audits = learner.task, Audits(learner, batch, None)
    found = audits.answers(learner)
    right, groups = held_out_of(found)
    assert len(right) == 400
    assert set(groups.tolist()) == {0}
    known = task.right(learner.outputs(batch.inputs[:3]), task.encode(batch.targets[:3]))
    assert right.tolist() == [known[number % 3] for number in range(400)]
    told = [language.row(*language.FACTS[number % 3], domain=f"d{number % 2}") for number in range(400)]
    assert Audits(learner, stack(told), None).answers(learner)["groups"] == [0, 1] * 200


def test_a_thaw_accepts_the_loss_and_learns_what_waited(tmp_path: Path) -> None:
    with asked(tmp_path) as s:
        with pytest.raises(ConfigError, match="not frozen"):
            s.thaw()
        s.audit(held_out())
        s.ingest(rows(1000, 1800, shift=1))
        s.run()
        s.audit(held_out())
        s.ingest(rows(1800, 1840))
        assert s.take(["r1803"]) == 0
        assert s.thaw() == 11
        s.flush()
        assert s.learner.stats.examples == 1840
        s.audit(held_out())
        assert not s.frozen
        digest = s.learner.digest()
    with Session(tmp_path) as s:
        assert s.learner.digest() == digest
        assert recovery.verify(s.home, s._make).holds


def test_audits_fall_on_the_same_steps_however_often_the_home_is_closed(tmp_path: Path) -> None:
    def go_on(home: Path, stop: int) -> tuple[bool, str]:
        """Open a home, learn until step `stop` is made; is it done, and what is it then?"""

        def on_step(step: Step) -> None:
            if step.k == stop:
                raise KeyboardInterrupt

        with Session(home, config=ASKED, settings=OFTEN) as s:
            s.ingest(rows(0, 600))
            s.audit(held_out(), every=20)
            try:
                s.run(on_step)
            except KeyboardInterrupt:
                return False, ""
            made = s.home.ledger.steps(limit=999)
            assert [step.k for step in made if step.verdict == "audit"] == [21, 41, 61, 81, 101, 121, 141]
            assert recovery.verify(s.home, s._make).holds
            return True, s.learner.digest()

    _, expected = go_on(tmp_path / "whole", -1)
    for stop in (19, 20, 21, 22, 40, 41, 77, 100, 157):
        assert not go_on(tmp_path / "often", stop)[0]
    assert go_on(tmp_path / "often", -1) == (True, expected)


def test_an_audit_wants_a_guard_that_audits(tmp_path: Path) -> None:
    with Session(tmp_path, config=CONFIG) as s:
        s.ingest(rows(0, 20))
        s.run()
        with pytest.raises(ConfigError, match="audits nothing"):
            s.audit(held_out())


@pytest.mark.parametrize(
    ("asked", "told"), [(range(2000, 2300), "n >= 400"), (range(2100, 2600), "not those of the reference")]
)
def test_other_held_out_rows_are_refused_before_anything_is_written(
    tmp_path: Path, asked: range, told: str
) -> None:
    with Session(tmp_path, config=ASKED, settings=OFTEN) as s:
        s.ingest(rows(0, 100))
        s.run()
        s.audit(held_out())
        with pytest.raises(ConfigError, match=told):
            s.audit(held_out(asked))
        with pytest.raises(ConfigError, match=told):
            s.audit(held_out(asked), every=10)
    with Session(tmp_path) as s:
        assert [entry.kind for entry in s.home.journal.commands()] == ["audit"]
        s.ingest(rows(100, 140))
        assert s.run() == 10


# Eviction --------------------------------------------------------------------------------------


def test_rows_that_a_guard_left_out_lie_aside_and_are_learned_once_approved(tmp_path: Path) -> None:
    config = CONFIG.but({"guard": "finite+poisoning", "batch_size": 10})
    with Session(tmp_path, config=config, settings=OFTEN) as s:
        s.ingest(rows(0, 1000, sender="ann"))
        s.run()
        assert not s.fold.cursor.aside
        mixed = [*rows(1000, 1400, sender="ann"), *rows(1400, 1600, sender="eve", shift=1)]
        mixed = [mixed[i] for i in np.random.default_rng(3).permutation(len(mixed))]
        s.ingest(mixed)
        s.run()
        evicted = [row.id for row in mixed if s.fold.cursor.is_aside(s.home.journal.lookup(row.id).seq)]
        assert len(evicted) > 100
        assert sum(id.startswith("eve") for id in evicted) >= 0.95 * len(evicted)
        learned = s.learner.stats.examples
        assert learned == 1600 - len(evicted) == 1600 - s.learner.stats.refused
        s.take(evicted[:10])
        assert s.learner.stats.examples == learned
        s.take(evicted[:10], approved=True)
        assert s.learner.stats.examples == learned + 10
        assert not any(s.fold.cursor.is_aside(s.home.journal.lookup(id).seq) for id in evicted[:10])
        assert recovery.verify(s.home, s._make).holds


def test_a_batch_that_a_guard_refused_lies_aside(tmp_path: Path) -> None:
    with Session(tmp_path, config=CONFIG.but({"head": "fixed", "classes": (0, 1, 2, 3)})) as s:
        s.ingest(rows(0, 8))
        s.ingest([OnlineExample(input=[1.0] * 4, target=1, id=f"heavy{i}", weight=3e38) for i in range(4)])
        s.run()
        step = s.home.ledger.steps(after=2)[0]
        assert step.verdict.startswith("reject: "), step.verdict
        assert s.fold.cursor.aside == [[9, 12]]
