"""The ledger commits groups of steps, all or nothing, and answers what happened."""

from __future__ import annotations

import math
from array import array
from itertools import pairwise
from pathlib import Path

import pytest

from tenuto.errors import ConfigError, CorruptHome, StoreError
from tenuto.store.ledger import Ledger
from tenuto.store.records import Event, SnapshotRow, Step


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = Ledger(tmp_path / "state.db")
    yield ledger
    ledger.close()


def step(k: int, **fields) -> Step:
    return Step(
        **(
            {"k": k, "first_seq": k * 10 - 9, "last_seq": k * 10, "rows": 10, "lr": 0.1, "loss": 1.0 / k}
            | fields
        )
    )


def snapshot(k: int, **fields) -> SnapshotRow:
    plain = {
        "cursor": {"seq": k},
        "manifest": {"state": {}},
        "digest": f"d{k}",
        "environment": {"torch": "x"},
    }
    return SnapshotRow(**(plain | {"k": k, "created_at": 1.0} | fields))


def test_a_group_is_committed_whole_and_survives_reopening(tmp_path: Path):
    ledger = Ledger(tmp_path / "state.db")
    assert (ledger.head.k, ledger.head.cursor, ledger.head.digest) == (0, {}, None)
    replayed = array("q", [3, 1, 2**40]).tobytes()
    group = [step(1, replayed=replayed, correct=4), step(2, verdict="reject", loss=math.nan)]
    ledger.commit(group, cursor={"seq": 20, "rest": [1.5, None]}, memory={0: 7, 5: 9}, digest="d2", at=3.0)
    ledger.close()
    ledger = Ledger(tmp_path / "state.db")
    first, second = ledger.steps()
    assert array("q", first.replayed).tolist() == [3, 1, 2**40]
    assert (first.correct, first.digest, second.digest, second.loss) == (4, None, "d2", None)
    assert ledger.head.cursor == {"seq": 20, "rest": [1.5, None]}
    assert (ledger.head.k, ledger.head.digest, ledger.head.at) == (2, "d2", 3.0)
    assert ledger.memory() == {0: 7, 5: 9}
    assert ledger.verdicts() == {"keep": 1, "reject": 1}
    ledger.close()


def test_memory_changes_row_by_row(ledger: Ledger):
    ledger.commit([], cursor={}, memory={0: 1, 1: 2, 2: 3})
    ledger.commit([], cursor={}, memory={1: None, 2: 9, 4: 5})
    assert ledger.memory() == {0: 1, 2: 9, 4: 5}


@pytest.mark.parametrize("k", [1, 3])
def test_steps_follow_without_gap(ledger: Ledger, k: int):
    ledger.commit([step(1)], cursor={"seq": 10})
    with pytest.raises(StoreError, match=f"step {k} cannot be committed where step 2"):
        ledger.commit([step(k)], cursor={"seq": 99})
    assert ledger.head.cursor == {"seq": 10}


def test_a_bad_group_changes_nothing(ledger: Ledger):
    ledger.commit([step(1)], cursor={"seq": 10}, memory={0: 1})
    with pytest.raises(ConfigError, match="plain"):
        ledger.commit([step(2)], cursor={"seq": math.nan}, memory={0: 2})
    with pytest.raises(StoreError, match="snapshot of step 5"):
        ledger.commit([step(2)], cursor={"seq": 20}, memory={0: 2}, snapshot=snapshot(5))
    assert (ledger.head.k, ledger.memory(), len(ledger.steps())) == (1, {0: 1}, 1)


def test_snapshots_lie_with_their_commit_and_rewind_takes_later_ones(ledger: Ledger):
    ledger.commit([], cursor={"seq": 0}, snapshot=snapshot(0, name="genesis"), digest="d0")
    ledger.commit([step(1), step(2)], cursor={"seq": 20}, memory={0: 3}, digest="d2", snapshot=snapshot(2))
    ledger.commit([step(3)], cursor={"seq": 30}, memory={0: 8, 1: 9}, snapshot=snapshot(3, pinned=True))
    assert [row.k for row in ledger.snapshots()] == [3, 2, 0]
    assert ledger.snapshots()[0] == snapshot(3, pinned=True)
    ledger.rewind(2, cursor={"seq": 20}, memory={0: 3}, digest="d2")
    assert [row.k for row in ledger.snapshots()] == [2, 0]
    assert [row.k for row in ledger.steps()] == [1, 2]
    assert (ledger.head.k, ledger.head.cursor, ledger.head.digest, ledger.memory()) == (
        2,
        {"seq": 20},
        "d2",
        {0: 3},
    )
    ledger.commit([step(3)], cursor={"seq": 30})
    ledger.pin(2)
    assert [row.pinned for row in ledger.snapshots()] == [True, False]
    ledger.drop_snapshots([2])
    assert [row.k for row in ledger.snapshots()] == [0]


@pytest.mark.parametrize("name", ["", "Upper", "-x", "a/b", "a" * 65])
def test_a_snapshot_name_out_of_form_is_refused(ledger: Ledger, name: str):
    with pytest.raises(ConfigError, match="snapshot name"):
        ledger.commit([], cursor={}, snapshot=snapshot(0, name=name))


def test_a_snapshot_name_is_taken_once(ledger: Ledger):
    ledger.commit([], cursor={}, snapshot=snapshot(0, name="a" * 64))
    with pytest.raises(ConfigError, match="there already"):
        ledger.commit([step(1)], cursor={}, snapshot=snapshot(1, name="a" * 64))


def test_the_curve_weighs_by_rows_and_never_exceeds_its_points(ledger: Ledger):
    ledger.commit([step(1, rows=1, loss=2.0), step(2, rows=3, loss=4.0, correct=2)], cursor={})
    (whole,) = ledger.curve(1)
    assert (whole.first_k, whole.last_k, whole.rows, whole.loss, whole.correct) == (1, 2, 4, 3.5, 2)
    ledger.commit([step(k, loss=None if k % 2 else 1.0) for k in range(3, 1001)], cursor={})
    curve = ledger.curve(50)
    assert len(curve) == 50
    assert (curve[0].first_k, curve[-1].last_k) == (1, 1000)
    assert all(later.first_k == earlier.last_k + 1 for earlier, later in pairwise(curve))
    assert curve[10].loss == 1.0
    assert Ledger.curve(ledger, 2000)[5].loss == 1.0


def test_pruned_steps_do_not_move_the_head(ledger: Ledger):
    ledger.commit([step(k) for k in range(1, 101)], cursor={}, events=[Event(kind="drift", at=1.0)] * 3)
    assert ledger.prune(steps_before=91, events_before=3) == 92
    assert [row.k for row in ledger.steps()] == list(range(91, 101))
    assert [event.n for event in ledger.events()] == [3]
    ledger.prune(steps_before=10**6)
    assert ledger.curve() == []
    ledger.commit([step(101)], cursor={})
    assert ledger.head.k == 101


def test_events_are_told_in_order(ledger: Ledger):
    ledger.commit(
        [], cursor={}, events=[Event(kind="drift", body={"p": 0.01}, at=5.0), Event(kind="guard", at=6.0)]
    )
    drift, guard = ledger.events()
    assert (drift.n, drift.kind, drift.body, drift.at) == (1, "drift", {"p": 0.01}, 5.0)
    assert ledger.events(after=1, limit=1) == [guard]


def test_config_is_kept(ledger: Ledger):
    assert ledger.config == {}
    ledger.configure({"method": "ewc", "options": {"lambda": 0.5}})
    assert ledger.config == {"method": "ewc", "options": {"lambda": 0.5}}


TAMPERING = {
    "changed": 'UPDATE audit SET body = \'{"who": "eve"}\' WHERE n = 2',
    "removed": "DELETE FROM audit WHERE n = 2",
    "cut": "DELETE FROM audit WHERE n = 3",
    "emptied": "DELETE FROM audit",
    "swapped": "UPDATE audit SET n = n - 3 WHERE n < 3; UPDATE audit SET n = -n WHERE n < 0",
    "backdated": "UPDATE audit SET at = 0 WHERE n = 1",
}


@pytest.mark.parametrize("how", TAMPERING)
def test_the_audit_chain_shows_tampering(ledger: Ledger, how: str):
    assert ledger.verify_audit() == 0
    for n in (1, 2, 3):
        assert ledger.audit("approve", {"who": "ann", "n": n}, at=float(n)) == n
    assert ledger.verify_audit() == 3
    assert ledger.audits(after=2)[0].body == {"who": "ann", "n": 3}
    with ledger.database.transaction() as connection:
        connection.execute(TAMPERING[how])
    with pytest.raises(CorruptHome, match="audit log"):
        ledger.verify_audit()
