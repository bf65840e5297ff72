"""Sessions: what a user relies on, on real homes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tenuto import OnlineExample, OnlineLearnerConfig, Session, SessionConfig, open_stream
from tenuto.errors import ConfigError, CorruptHome, ExampleError, HomeLocked, OutOfReach, StreamError
from tenuto.session import recovery

CONFIG = OnlineLearnerConfig(hidden=(8,), memory_size=20, batch_size=5)
OFTEN = SessionConfig(commit_every=4, snapshot_every=10, keep_snapshots=3)


def rows(start: int, stop: int) -> list[OnlineExample]:
    draws = np.random.default_rng(7)
    inputs = draws.normal(size=(1000, 4)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(int) + 2 * (inputs[:, 1] > 0)
    return [
        OnlineExample(input=inputs[i], target=int(labels[i]), id=f"r{i}", source="api")
        for i in range(start, stop)
    ]


def session(home: Path, **options: object) -> Session:
    return Session(home, config=CONFIG, settings=OFTEN, **options)  # type: ignore[arg-type]


def learned(home: Path, *batches: Sequence[OnlineExample]) -> str:
    with session(home) as s:
        for batch in batches:
            s.ingest(batch)
            s.flush()
        return s.learner.digest()


def test_a_reopened_home_goes_on_as_if_never_closed(tmp_path: Path) -> None:
    whole = learned(tmp_path / "a", rows(0, 33), rows(33, 80))
    learned(tmp_path / "b", rows(0, 33))
    assert learned(tmp_path / "b", rows(33, 80)) == whole


def test_how_rows_are_split_into_appends_and_runs_does_not_matter(tmp_path: Path) -> None:
    with session(tmp_path / "a") as s:
        for row in rows(0, 40):
            s.ingest([row])
            s.run()
        one_by_one = s.learner.digest()
    assert learned(tmp_path / "b", rows(0, 40)) == one_by_one


def test_an_id_changes_the_model_once(tmp_path: Path) -> None:
    with session(tmp_path) as s:
        s.ingest(rows(0, 20))
        s.flush()
        before = s.learner.digest()
        receipt = s.ingest(rows(0, 20))
        s.flush()
        assert (receipt.accepted, receipt.duplicates) == (0, 20)
        assert s.learner.digest() == before


def test_an_id_with_other_content_is_set_apart(tmp_path: Path) -> None:
    with session(tmp_path) as s:
        s.ingest(rows(0, 2))
        receipt = s.ingest([OnlineExample(input=[0.0, 0.0, 0.0, 0.0], target=1, id="r0")])
        assert receipt.quarantined == 1
        assert "already taken by other content" in s.home.journal.quarantined()[0].reason


@pytest.mark.parametrize("gone", ["r0", "r7", "r44", "r59"])
def test_forgetting_is_the_digest_of_a_run_that_never_saw_it(tmp_path: Path, gone: str) -> None:
    with session(tmp_path / "a") as s:
        s.ingest(rows(0, 60))
        s.flush()
        forgotten = s.forget(id=gone)
        assert s.learner.digest() == forgotten.digest
    without = [row for row in rows(0, 60) if row.id != gone]
    assert learned(tmp_path / "b", without) == forgotten.digest
    with session(tmp_path / "a") as s:
        assert s.learner.digest() == forgotten.digest
        assert s.ingest([row for row in rows(0, 60) if row.id == gone]).forgotten == 1


def test_forgetting_a_waiting_row_rebuilds_nothing(tmp_path: Path) -> None:
    with session(tmp_path) as s:
        s.ingest(rows(0, 20))
        s.flush()
        s.ingest(rows(20, 23))
        s.home.journal.command("flush", {})
        assert s.forget(id="r22").rebuilt_from is not None, "it was read into the incomplete batch"
    with session(tmp_path) as s, pytest.raises(ConfigError, match="nothing of 'r99'"):
        s.forget(id="r99")


def test_forgetting_takes_derived_rows_along(tmp_path: Path) -> None:
    child = OnlineExample(input=[1.0, 1.0, 1.0, 1.0], target=3, id="child", derived_from=("r3",))
    with session(tmp_path / "a") as s:
        s.ingest([*rows(0, 10), child, *rows(10, 20)])
        s.flush()
        assert s.forget(id="r3").entries == 2
        digest = s.learner.digest()
    without = [row for row in rows(0, 20) if row.id != "r3"]
    assert learned(tmp_path / "b", without) == digest


def test_after_a_crash_in_the_middle_of_forgetting_it_is_finished_at_opening(tmp_path: Path) -> None:
    with session(tmp_path / "a") as s:
        s.ingest(rows(0, 60))
        s.flush()
        journal = s.home.journal
        journal.erase(journal.seqs(id="r12"), reason="asked", ids=("r12",))
    with session(tmp_path / "a") as s:
        s.flush()
        assert s.learner.digest() == learned(tmp_path / "b", [row for row in rows(0, 60) if row.id != "r12"])


def test_a_reset_goes_back_and_what_came_after_waits_aside(tmp_path: Path) -> None:
    with session(tmp_path) as s:
        s.ingest(rows(0, 23))
        s.flush()
        s.snapshot("good")
        good = s.learner.digest()
        s.ingest(rows(23, 50))
        s.flush()
        assert s.learner.digest() != good
        s.reset("good")
        assert s.learner.digest() == good
        assert s.fold.cursor.is_aside(s.home.journal.last_seq - 5)
        s.take(["r30", "r31"])
        assert s.learner.stats.examples == 25
        after = s.learner.digest()
        assert recovery.verify(s.home, s._make).holds
    with session(tmp_path) as s:
        assert s.learner.digest() == after


def test_forgetting_before_a_reset_rebuilds_through_it(tmp_path: Path) -> None:
    def story(home: Path, without: str | None) -> str:
        def kept(start: int, stop: int) -> list[OnlineExample]:
            return [row for row in rows(start, stop) if row.id != without]

        with session(home) as s:
            s.ingest(kept(0, 25))
            s.flush()
            s.snapshot("good")
            s.ingest(kept(25, 45))
            s.flush()
            s.reset("good")
            s.ingest(kept(45, 60))
            s.flush()
            if without is None:
                s.forget(id="r11")
            return s.learner.digest()

    assert story(tmp_path / "a", None) == story(tmp_path / "b", "r11")


def test_consolidation_is_a_step_and_survives(tmp_path: Path) -> None:
    with session(tmp_path, method="lwf") as s:
        s.ingest(rows(0, 20))
        row = s.consolidate()
        assert row.k == s.k == 5
        s.ingest(rows(20, 40))
        s.flush()
        digest = s.learner.digest()
        assert recovery.verify(s.home, s._make).holds
    with session(tmp_path) as s:
        assert s.learner.digest() == digest
        assert s.learner.stats.consolidations == 1


def test_a_setting_that_may_change_becomes_an_entry(tmp_path: Path) -> None:
    learned(tmp_path, rows(0, 20))
    with Session(tmp_path, config=CONFIG.but({"learning_rate": 0.2})) as s:
        s.ingest(rows(20, 40))
        s.flush()
        assert s.learner.config.learning_rate == 0.2
        digest = s.learner.digest()
        assert [entry.kind for entry in s.home.journal.commands()].count("config") == 1
    with Session(tmp_path) as s:
        assert s.learner.config.learning_rate == 0.2
        assert s.learner.digest() == digest


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"method": "naive"}, "method 'er'"),
        ({"config": CONFIG.but({"memory_size": 21})}, "memory_size 20"),
        ({"model": "mlp:4"}, "model 'mlp'"),
        ({"options": {"ratio": 0.4}}, "options {}"),
    ],
)
def test_another_learner_is_refused(tmp_path: Path, options: dict[str, object], named: str) -> None:
    learned(tmp_path, rows(0, 5))
    with pytest.raises(ConfigError, match="was made with") as refused:
        Session(tmp_path, **options)  # type: ignore[arg-type]
    assert named in str(refused.value)
    assert learned(tmp_path, rows(5, 10))


def test_a_home_of_a_users_module_asks_for_it(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 4))
    with Session(tmp_path, net, CONFIG, settings=OFTEN) as s:
        s.ingest(rows(0, 20))
        s.flush()
        digest = s.learner.digest()
    with pytest.raises(ConfigError, match="pass that module"):
        Session(tmp_path)
    with Session(tmp_path, torch.nn.Sequential(torch.nn.Linear(4, 4))) as s:
        assert s.learner.digest() == digest


def test_bad_rows_are_set_apart_and_the_rest_is_learned(tmp_path: Path) -> None:
    bad = [
        OnlineExample(input=[float("nan")] * 4, target=1, id="nan"),
        OnlineExample(input=[1.0, 2.0], target=1, id="short"),
        OnlineExample(input=[1.0] * 4, target="cat", id="text"),
        OnlineExample(input=[1.0] * 4, target=None, id="none"),
    ]
    with session(tmp_path / "a") as s:
        receipt = s.ingest([*rows(0, 10), *bad, *rows(10, 20)])
        s.flush()
        assert (receipt.accepted, receipt.quarantined) == (20, 4)
        assert [row.id for row in s.home.journal.quarantined()] == ["nan", "short", "text", "none"]
        assert s.learner.digest() == learned(tmp_path / "b", rows(0, 20))


def test_strict_stops_at_the_first_bad_row_with_those_before_it_kept(tmp_path: Path) -> None:
    with Session(tmp_path, config=CONFIG, settings=OFTEN.but({"strict": True})) as s:
        bad = OnlineExample(input=[float("inf")] * 4, target=1, id="inf")
        with pytest.raises(ExampleError, match="'inf'"):
            s.ingest([*rows(0, 7), bad, *rows(7, 9)])
        s.flush()
        assert s.learner.stats.examples == 7
        assert s.home.journal.source("session").offset == 7  # type: ignore[union-attr]


def test_rows_that_the_model_cannot_read_do_not_settle_the_shape(tmp_path: Path) -> None:
    wrong = OnlineExample(input=[1.0, 2.0], target=1, id="wrong")
    with Session(tmp_path, torch.nn.Sequential(torch.nn.Linear(4, 4)), CONFIG) as s:
        receipt = s.ingest([wrong, *rows(0, 10)])
        assert (receipt.accepted, receipt.quarantined) == (10, 1)
        assert "cannot read rows of shape (2,)" in s.home.journal.quarantined()[0].reason


def test_a_label_beyond_a_fixed_head_is_set_apart(tmp_path: Path) -> None:
    config = CONFIG.but({"head": "fixed", "classes": (0, 1)})
    with Session(tmp_path, config=config) as s:
        receipt = s.ingest(rows(0, 20))
        known = sum(row.target in (0, 1) for row in rows(0, 20))
        assert (receipt.accepted, receipt.quarantined) == (known, 20 - known)
        assert "fixed classes" in s.home.journal.quarantined()[0].reason


def test_a_stream_goes_on_where_it_was_left_and_may_grow(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    text = ["a,b,c,d,target", *(",".join(map(str, [*r.input.tolist(), r.target])) for r in rows(0, 40))]
    file.write_text("\n".join(text[:21]) + "\n")
    with session(tmp_path / "home") as s:
        assert s.learn(open_stream(file)) == 20
        file.write_text("\n".join(text) + "\n")
        assert s.learn(open_stream(file)) == 20
        assert s.learn(open_stream(file)) == 0
        assert s.learner.stats.examples == 40
        file.write_text("\n".join(text[:1] + text[2:]) + "\n")
        with pytest.raises(StreamError, match="beginning changed"):
            s.learn(open_stream(file))


def test_retention_drops_old_bodies_and_says_what_it_can_no_longer_forget(tmp_path: Path) -> None:
    settings = OFTEN.but({"journal_max_bytes": 2000, "keep_snapshots": 2})
    with Session(tmp_path, config=CONFIG, settings=settings) as s:
        s.ingest(rows(0, 400))
        s.flush()
        counts = s.home.journal.counts()
        held = set(s.fold.memory.values())
        assert counts["dropped"] > 200
        assert all(entry.body for entry in s.home.journal.fetch(sorted(held)))
        free = next(s for s in range(1, 50) if s not in held)
        with pytest.raises(OutOfReach, match="oldest kept snapshot"):
            s.forget(id=f"r{free - 1}")
        assert s.ingest(rows(0, 5)).duplicates == 5
        digest = s.learner.digest()
        assert recovery.verify(s.home, s._make).holds
    with Session(tmp_path) as s:
        assert s.learner.digest() == digest


def test_another_machine_restarts_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned(tmp_path, rows(0, 40))
    monkeypatch.setattr(recovery, "environment", lambda: {"torch": "another"})
    with session(tmp_path) as s:
        assert not s.exact


def test_a_home_whose_state_was_tampered_with_is_refused(tmp_path: Path) -> None:
    with session(tmp_path) as s:
        s.ingest(rows(0, 15))
        s.flush()
        head = s.home.ledger.head
        s.home.ledger.commit([], cursor=head.cursor, digest="0" * 64)
    with pytest.raises(CorruptHome, match="another digest"):
        session(tmp_path)


def test_a_home_is_open_once(tmp_path: Path) -> None:
    with session(tmp_path), pytest.raises(HomeLocked):
        session(tmp_path)
