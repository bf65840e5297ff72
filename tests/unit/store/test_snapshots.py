"""Snapshots: durable before they are named, passed over when damaged, collected when unneeded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tenuto.errors import CorruptHome
from tenuto.store.home import Home
from tenuto.store.manifest import reachable
from tenuto.store.records import SnapshotRow, Step
from tenuto.trees import digest


@pytest.fixture
def home(tmp_path: Path):
    with Home.create(tmp_path / "home", config={}) as home:
        yield home


def state(k: int) -> dict:
    torch.manual_seed(k)
    return {"params": {"w": torch.randn(4, 3)}, "fixed": torch.ones(5), "seen": k, "best": float("inf")}


def take(home: Home, k: int, **options) -> SnapshotRow:
    row = home.snapshots.take(
        state(k),
        memory={0: k, 3: k + 1},
        k=k,
        cursor={"seq": 10 * k},
        digest=digest(state(k)),
        environment={"torch": "2"},
        **options,
    )
    steps = [Step(k=n, first_seq=n, last_seq=n, rows=1) for n in range(home.ledger.head.k + 1, k + 1)]
    home.ledger.commit(steps, cursor=row.cursor, digest=row.digest, snapshot=row)
    return row


def test_what_was_taken_is_read_back_from_a_reopened_home(home: Home, tmp_path: Path):
    row = take(home, 5, name="before-lunch")
    assert row.digest == digest(state(5)) == home.ledger.head.digest
    home.close()
    with Home.view(tmp_path / "home") as view:
        (held,) = view.snapshots.list()
        assert held == row
        restored = view.snapshots.read(held)
        assert restored.memory == {0: 5, 3: 6}
        assert digest(restored.state) == row.digest
        assert restored.state["best"] == float("inf")


def test_empty_memory(home: Home):
    row = home.snapshots.take({}, memory={}, k=0, cursor={}, digest="", environment={})
    assert home.snapshots.read(row).memory == {}


def test_unchanged_tensors_are_not_written_again(home: Home):
    take(home, 1)
    before = len(home.blobs.names())
    take(home, 2)
    assert len(home.blobs.names()) == before + 2


def spoil(home: Home, row: SnapshotRow, others: list[SnapshotRow]) -> None:
    shared = {name for other in others for name in reachable(other.manifest)}
    name = next(name for name in reachable(row.manifest) if name not in shared)
    path = home.blobs.path(name)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_the_newest_sound_one_is_found(home: Home):
    rows = [take(home, k) for k in (1, 2, 3)]
    assert home.snapshots.newest_valid().k == 3
    assert home.snapshots.newest_valid(at_most=2).k == 2
    assert home.snapshots.newest_valid(at_most=0) is None
    spoil(home, rows[2], rows[:2])
    assert home.snapshots.newest_valid().k == 2
    with pytest.raises(CorruptHome):
        home.snapshots.read(rows[2])
    home.blobs.path(next(reachable(rows[1].manifest))).unlink()
    assert home.snapshots.newest_valid(at_most=2).k == 1


@pytest.mark.parametrize(
    "change",
    [
        "cursor = '{\"seq\": 99}'",
        "manifest = replace(manifest, '\"seen\": 2', '\"seen\": 3')",
        "manifest = 'not json'",
        "digest = 'd'",
        "environment = '{}'",
        "k = 7",
    ],
)
def test_a_changed_row_is_passed_over(home: Home, change: str):
    take(home, 1)
    take(home, 2)
    with home.ledger.database.transaction() as connection:
        connection.execute(f"UPDATE snapshots SET {change} WHERE k = 2")
        assert connection.changes() == 1
    assert home.snapshots.newest_valid().k == 1
    with pytest.raises(CorruptHome, match="seal"):
        home.snapshots.verify(home.snapshots.list()[0])


def test_retention_keeps_newest_genesis_and_pinned(home: Home):
    for k in range(6):
        take(home, k, pinned=k == 2)
    blobs = len(home.blobs.names())
    assert home.snapshots.collect(keep=2) == 4
    assert [row.k for row in home.snapshots.list()] == [5, 4, 2, 0]
    assert len(home.blobs.names()) == blobs - 4
    for row in home.snapshots.list():
        home.snapshots.verify(row)
    assert home.snapshots.collect(keep=2) == 0


def test_a_rewind_leaves_blobs_that_collect_removes(home: Home):
    for k in range(3):
        take(home, k)
    row = home.snapshots.list()[1]
    home.ledger.rewind(1, cursor=row.cursor, memory=home.snapshots.read(row).memory, digest=row.digest)
    assert home.snapshots.collect(keep=9) == 2
    assert [row.k for row in home.snapshots.list()] == [1, 0]
    assert home.ledger.memory() == {0: 1, 3: 2}
