"""Retention bounds the bodies, spares what is pinned, and forgets no id."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenuto.errors import CorruptHome
from tenuto.store.journal import Journal
from tenuto.store.records import Pruned, Receipt, Refused, Row


@pytest.fixture
def journal(tmp_path: Path):
    journal = Journal(tmp_path / "ingest.db")
    for n in range(10):
        journal.append([Row(id=f"i{n}", body=bytes([n]) * 100)], at=float(n))
    yield journal
    journal.close()


def live(journal: Journal) -> list[int]:
    return [entry.seq for entry in journal.examples()]


def test_nothing_is_dropped_without_a_bound(journal: Journal):
    assert journal.prune(through=10) == Pruned(entries=0, quarantined=0, body_bytes=0)
    assert journal.prune(through=10, max_bytes=1000).entries == 0
    assert live(journal) == list(range(1, 11))


def test_the_oldest_go_until_the_rest_fits(journal: Journal):
    assert journal.prune(through=10, max_bytes=650) == Pruned(entries=4, quarantined=0, body_bytes=400)
    assert live(journal) == [5, 6, 7, 8, 9, 10]
    assert journal.counts() | {"live": 6, "dropped": 4, "bytes": 600} == journal.counts()
    gone = journal.lookup("i0")
    assert (gone.seq, gone.status, gone.body) == (1, "dropped", None)


def test_age_counts_from_receipt(journal: Journal):
    assert journal.prune(through=10, max_age_s=5.0, at=10.0).entries == 5
    assert live(journal) == [6, 7, 8, 9, 10]
    assert journal.prune(through=10, max_age_s=5.0, at=10.0).entries == 0


def test_the_unconsumed_and_the_pinned_stay_until_they_are_free(journal: Journal):
    pinned = {1, 3}
    assert journal.prune(through=4, max_bytes=0, pinned=pinned.__contains__).entries == 2
    assert live(journal) == [1, 3, 5, 6, 7, 8, 9, 10]
    for entry in journal.examples(limit=2):
        assert entry.body == bytes([entry.seq - 1]) * 100
    assert journal.prune(through=6, max_bytes=0, pinned={3, 6}.__contains__).entries == 2
    assert live(journal) == [3, 6, 7, 8, 9, 10]
    assert journal.prune(through=10, max_bytes=0).entries == 6
    assert live(journal) == []
    assert journal.counts()["bytes"] == 0


def test_an_old_duplicate_stays_a_duplicate(journal: Journal):
    journal.prune(through=10, max_bytes=0)
    assert journal.append([Row(id="i3", body=bytes([3]) * 100)]) == Receipt(duplicates=1)
    assert journal.append([Row(id="i3", body=b"other")]).quarantined == 1
    assert journal.append([Row(id="new", body=b"1")]).first_seq == 11


def test_a_dropped_entry_can_still_be_forgotten(journal: Journal):
    journal.prune(through=2, max_bytes=0)
    assert journal.erase(journal.seqs(id="i0"), reason="asked").entries == 1
    assert journal.lookup("i0").status == "forgotten"
    assert journal.counts() | {"dropped": 1, "forgotten": 1, "live": 8} == journal.counts()
    assert journal.append([Row(id="i0", body=bytes([0]) * 100)]) == Receipt(forgotten=1)


def test_quarantine_and_idempotency_keys_age_too(journal: Journal):
    journal.append([], refused=[Refused(id="q", body=b"q" * 100, reason="NaN")], at=2.5)
    journal.append([Row(id="k", body=b"k")], key="key", payload=b"p", at=3.0)
    assert journal.prune(through=11, max_bytes=901) == Pruned(entries=2, quarantined=0, body_bytes=200)
    assert journal.prune(through=11, max_bytes=701).entries == 1
    assert journal.quarantined() == []
    assert journal.append([], key="key", payload=b"p").accepted == 1
    journal.prune(through=0, max_age_s=1.0, at=10.0)
    assert journal.append([], key="key", payload=b"p").accepted == 0


def test_commands_are_kept(journal: Journal):
    journal.command("take", {"seqs": [1]}, at=0.0)
    journal.prune(through=11, max_bytes=0)
    assert journal.commands()[0].plain() == {"seqs": [1]}


def test_the_file_shrinks_and_its_space_is_used_again(tmp_path: Path):
    path = tmp_path / "ingest.db"
    journal = Journal(path)
    size = []
    for round in range(8):
        journal.append([Row(id=f"{round}-{n}", body=os.urandom(900)) for n in range(2000)])
        journal.prune(through=journal.last_seq, max_bytes=1_000_000)
        size.append(os.path.getsize(path) + os.path.getsize(f"{path}-wal"))
    assert size[0] < 1_500_000
    ids = 7 * 2000
    assert size[-1] - size[0] < 100 * ids
    assert len(journal.examples(limit=3000)) == 1_000_000 // 900
    journal.close()


def test_a_body_that_damage_has_emptied_is_named(journal: Journal):
    with journal.database.transaction() as connection:
        connection.execute("CREATE TABLE loose(seq INTEGER PRIMARY KEY, body BLOB)")
        connection.execute(
            "INSERT INTO loose SELECT seq, CASE seq WHEN 2 THEN NULL ELSE body END FROM bodies"
        )
        connection.execute("DROP TABLE bodies")
        connection.execute("ALTER TABLE loose RENAME TO bodies")
    with pytest.raises(CorruptHome, match="row 2 of the journal"):
        journal.prune(through=journal.last_seq, max_bytes=0)


def test_a_clock_that_was_ahead_holds_up_nothing(journal: Journal):
    """Rows received while it was are as old as the first that came after it was set right."""
    ahead = [Row(id=f"a{n}", body=b"a" * 100) for n in range(3)]
    journal.append(ahead, refused=[Refused(id="q", body=b"q" * 100, reason="NaN")], at=1e9)
    assert journal.prune(through=13, max_age_s=5.0, at=12.0).entries == 7
    assert live(journal) == [8, 9, 10, 11, 12, 13], "as young as now while nothing came after them"
    later = [Row(id="b", body=b"b" * 100)]
    journal.append(later, refused=[Refused(id="r", body=b"r" * 100, reason="NaN")], at=14.0)
    assert journal.prune(through=14, max_age_s=5.0, at=18.0).entries == 3
    assert live(journal) == [11, 12, 13, 14]
    assert journal.prune(through=14, max_age_s=5.0, at=19.5) == Pruned(
        entries=4, quarantined=2, body_bytes=600
    )
