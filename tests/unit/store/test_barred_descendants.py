"""What derives from the forgotten never enters, through however many rows that were not let in either."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenuto.store.journal import Journal
from tenuto.store.records import Receipt, Refused, Row


@pytest.fixture
def journal(tmp_path: Path):
    journal = Journal(tmp_path / "ingest.db")
    journal.append([Row(id="a", body=b"1"), Row(id="b", body=b"2")])
    journal.erase(journal.seqs(id="a"), reason="asked")
    yield journal
    journal.close()


def child(id: str, *parents: str) -> Row:
    return Row(id=id, body=id.encode(), derived_from=parents)


def test_the_child_of_a_barred_row_is_barred_later(journal: Journal):
    assert journal.append([child("c", "a")]) == Receipt(forgotten=1)
    assert journal.append([child("d", "b", "c"), child("e", "b")]) == Receipt(
        accepted=1, forgotten=1, first_seq=5, last_seq=5
    )
    assert [entry.id for entry in journal.examples()] == ["b", "e"]
    assert (journal.lookup("c").status, journal.lookup("d").status) == ("forgotten", "forgotten")
    assert journal.append([Row(id="c", body=b"c")]) == Receipt(forgotten=1)
    assert journal.counts()["forgotten"] == 3
    assert [entry.seq for entry in journal.read()] == list(range(1, journal.last_seq + 1))


def test_the_child_of_a_barred_row_is_barred_in_the_same_append(journal: Journal):
    receipt = journal.append([child("d", "c"), Row(id="x", body=b"x"), child("c", "a")])
    assert (receipt.accepted, receipt.forgotten) == (1, 2)
    assert [entry.id for entry in journal.examples()] == ["b", "x"]


def test_what_derives_from_a_barred_broken_row_is_barred(journal: Journal):
    broken = Refused(id="c", body=b"nan", reason="NaN", derived_from=("a",))
    assert journal.append([], refused=[broken]) == Receipt(forgotten=1)
    assert journal.append([child("d", "c")]) == Receipt(forgotten=1)
    assert journal.quarantined() == []
