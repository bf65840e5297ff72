"""The journal acknowledges each id once, with one content, in one order."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import apsw
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tenuto.errors import ConfigError, DuplicateId, ExampleError, MalformedRow
from tenuto.store.journal import Journal
from tenuto.store.records import Receipt, Refused, Row

MEMORY = Path("/dev/shm")
"""Where fsync costs nothing: the model is about meaning, not durability."""


@pytest.fixture
def journal(tmp_path: Path):
    journal = Journal(tmp_path / "ingest.db")
    yield journal
    journal.close()


def rows(*pairs: tuple[str, bytes]) -> list[Row]:
    return [Row(id=id, body=body) for id, body in pairs]


def test_entries_come_back_as_they_went_in_and_survive_reopening(tmp_path: Path):
    journal = Journal(tmp_path / "ingest.db")
    sent = [
        Row(id="a", body=b"\x00one", source_offset=7, principal="ann", derived_from=("z",)),
        Row(id="b", body=b""),
    ]
    receipt = journal.append(sent, source="s", at=12.5)
    assert receipt == Receipt(accepted=2, first_seq=1, last_seq=2)
    journal.close()
    journal = Journal(tmp_path / "ingest.db")
    first, second = journal.read()
    assert (first.seq, first.id, first.kind, first.body, first.source) == (1, "a", "example", b"\x00one", "s")
    assert (first.source_offset, first.principal, first.received_at, first.status) == (7, "ann", 12.5, "live")
    assert second.body == b""
    assert journal.last_seq == 2
    assert journal.append([Row(id="c", body=b"3")]).first_seq == 3
    journal.close()


def test_a_row_without_id_is_named_after_its_place(journal: Journal):
    journal.append([Row(body=b"x", source_offset=41)], source="train.csv")
    assert journal.lookup("train.csv:41").seq == 1
    with pytest.raises(ExampleError, match="no id and no place"):
        journal.append([Row(body=b"x")], source="train.csv")
    with pytest.raises(ExampleError, match="no id and no place"):
        journal.append([Row(body=b"x", source_offset=3)])
    assert journal.last_seq == 1


def test_same_id_same_content_is_a_duplicate_other_content_is_quarantined(journal: Journal):
    journal.append(rows(("a", b"1"), ("b", b"2")))
    receipt = journal.append(
        rows(("c", b"3"), ("a", b"1"), ("b", b"other"), ("d", b"4")), source="late", at=5.0
    )
    assert receipt == Receipt(accepted=2, duplicates=1, quarantined=1, first_seq=3, last_seq=4)
    (held,) = journal.quarantined()
    assert (held.id, held.body, held.source, held.received_at) == ("b", b"other", "late", 5.0)
    assert "'b'" in held.reason
    assert [entry.id for entry in journal.read()] == ["a", "b", "c", "d"]


def test_clashes_within_one_append(journal: Journal):
    receipt = journal.append(rows(("a", b"1"), ("a", b"1"), ("a", b"2"), ("b", b"1")))
    assert receipt == Receipt(accepted=2, duplicates=1, quarantined=1, first_seq=1, last_seq=2)
    assert [entry.body for entry in journal.read()] == [b"1", b"1"]


def test_quarantine_keeps_a_content_once_and_is_listed_by_id(journal: Journal):
    broken = Refused(body=b"{", reason="line 3 is not JSON", source_offset=3)
    assert journal.append([], source="f", refused=[broken]).quarantined == 1
    assert journal.append([], source="f", refused=[broken]).quarantined == 1
    assert [held.id for held in journal.quarantined()] == ["f:3"]
    assert journal.quarantined(id="other") == []
    assert journal.counts()["quarantined"] == 1


def test_source_moves_with_its_rows_or_not_at_all(journal: Journal):
    journal.append(rows(("a", b"1")), source="f", offset=10, fingerprint="abc", at=1.0)
    assert (journal.source("f").offset, journal.source("f").fingerprint) == (10, "abc")
    with pytest.raises(ExampleError):
        journal.append([*rows(("b", b"2")), Row(body=b"x")], source="f", offset=20)
    assert journal.source("f").offset == 10
    assert journal.lookup("b") is None
    journal.append([], source="f", offset=30)
    assert journal.source("f").offset == 30
    assert journal.source("g") is None


def test_half_a_surrogate_is_refused_and_changes_nothing(journal: Journal):
    with pytest.raises(MalformedRow, match="surrogate"):
        journal.append(rows(("a", b"1"), ("\ud800", b"2")))
    assert journal.last_seq == 0


def test_an_idempotency_key_answers_twice_and_acts_once(journal: Journal):
    payload = hashlib.sha256(b"request").digest()
    first = journal.append(rows(("a", b"1")), key="k1", payload=payload)
    again = journal.append(rows(("a", b"1")), key="k1", payload=payload)
    assert again == first == Receipt(accepted=1, first_seq=1, last_seq=1)
    with pytest.raises(DuplicateId, match="k1"):
        journal.append(rows(("b", b"2")), key="k1", payload=b"other")
    assert journal.last_seq == 1


def test_commands_stand_in_the_order_and_are_found_alone(journal: Journal):
    journal.append(rows(("a", b"1")))
    assert journal.command("take", {"seqs": [5, 6], "why": "correction"}, after=1, at=3.0) == 2
    journal.append(rows(("b", b"2")))
    assert journal.command("flush", {}) == 4
    take, flush = journal.commands()
    assert (take.seq, take.kind, take.after, take.id) == (2, "take", 1, None)
    assert take.plain() == {"seqs": [5, 6], "why": "correction"}
    assert flush.after is None
    assert [entry.seq for entry in journal.commands(after=2)] == [4]
    assert [entry.seq for entry in journal.examples()] == [1, 3]
    assert [entry.seq for entry in journal.read(after=1, limit=2)] == [2, 3]
    assert [entry.seq for entry in journal.fetch([3, 99, 1])] == [3, 1]
    assert journal.counts()["commands"] == 2


@pytest.mark.parametrize(
    ("kind", "body"), [("example", {}), ("Take!", {}), ("", {}), ("take", {"x": object()})]
)
def test_a_command_out_of_form_is_refused(journal: Journal, kind: str, body: dict):
    with pytest.raises(ConfigError):
        journal.command(kind, body)
    assert journal.last_seq == 0


def test_a_reader_in_the_same_home_sees_what_was_acknowledged(tmp_path: Path):
    writer = Journal(tmp_path / "ingest.db")
    writer.append(rows(("a", b"1")))
    reader = Journal(tmp_path / "ingest.db", readonly=True)
    writer.append(rows(("b", b"2")))
    assert [entry.id for entry in reader.read()] == ["a", "b"]
    reader.close()
    writer.close()


def test_a_tally_counts_by_source_and_by_principal(journal: Journal):
    journal.append([Row(id="a", body=b"1", principal="ann"), Row(id="b", body=b"2")], source="web")
    journal.append([Row(id="c", body=b"3", principal="ann")], source="file")
    assert list(journal.tally([3, 2, 1], "source").items()) == [("web", 2), ("file", 1)]
    assert journal.tally([1, 2, 3, 99], "principal") == {"ann": 2, None: 1}
    assert journal.tally([], "source") == {}


class JournalModel(RuleBasedStateMachine):
    """Against a dictionary: what was accepted, what was forgotten, what waits in quarantine."""

    ids = st.sampled_from([f"id{n}" for n in range(8)])
    bodies = st.sampled_from([b"x", b"y", b"z"])

    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.journal = Journal(self.root / "ingest.db")
        self.accepted: dict[str, bytes] = {}
        self.parents: dict[str, tuple[str, ...]] = {}
        self.forgotten: set[str] = set()
        self.held: set[tuple[str, bytes, tuple[str, ...]]] = set()
        self.order: list[str | None] = []
        self.duplicates = 0

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.root)

    @rule(batch=st.lists(st.tuples(ids, bodies, st.lists(ids, max_size=1)), max_size=6))
    def append(self, batch: list[tuple[str, bytes, list[str]]]) -> None:
        accepted = duplicates = forgotten = quarantined = 0
        before = set(self.forgotten)
        while heirs := {id for id, _, parents in batch if before & set(parents)} - before:
            before |= heirs
        for id, body, parents in batch:
            if id in self.forgotten or before & set(parents):
                forgotten += 1
            elif id not in self.accepted:
                self.accepted[id], self.parents[id] = body, tuple(parents)
                self.order.append(id)
                accepted += 1
            elif self.accepted[id] == body:
                duplicates += 1
            else:
                self.held.add((id, body, tuple(parents)))
                quarantined += 1
        buried = sorted(before - self.forgotten - set(self.accepted))
        self.forgotten |= set(buried)
        self.duplicates += duplicates
        receipt = self.journal.append(
            [Row(id=id, body=body, derived_from=tuple(parents)) for id, body, parents in batch]
        )
        assert (receipt.accepted, receipt.duplicates) == (accepted, duplicates)
        assert (receipt.forgotten, receipt.quarantined) == (forgotten, quarantined)
        if accepted:
            assert (receipt.first_seq, receipt.last_seq) == (len(self.order) - accepted + 1, len(self.order))
        self.order += buried

    @rule()
    def command(self) -> None:
        self.order.append(None)
        assert self.journal.command("flush", {}) == len(self.order)

    @rule(id=ids)
    def forget(self, id: str) -> None:
        gone = {id} & (set(self.accepted) - self.forgotten)
        while True:
            more = {n for n, ps in self.parents.items() if gone & set(ps)} - gone
            if not more:
                break
            gone |= more
        seqs = self.journal.descendants(self.journal.seqs(id=id))
        assert {self.order[seq - 1] for seq in seqs} == gone
        self.journal.erase(seqs, reason="asked", ids=[id])
        self.order.append(None)
        self.forgotten |= gone
        names = gone | {id}
        self.held = {held for held in self.held if held[0] not in names and not names & set(held[2])}

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = Journal(self.root / "ingest.db")

    @invariant()
    def agrees(self) -> None:
        entries = self.journal.read()
        assert [entry.seq for entry in entries] == list(range(1, len(self.order) + 1))
        assert [entry.id for entry in entries] == self.order
        for entry in entries:
            if entry.kind == "example":
                live = entry.id not in self.forgotten
                assert entry.status == ("live" if live else "forgotten")
                assert entry.body == (self.accepted[entry.id] if live else None)
        assert {(held.id, held.body) for held in self.journal.quarantined()} == {
            held[:2] for held in self.held
        }
        counts = self.journal.counts()
        assert counts["quarantined"] == len(self.held)
        assert counts["live"] == len(set(self.accepted) - self.forgotten)
        assert counts["forgotten"] == len(self.forgotten)
        assert counts["duplicates"] == self.duplicates


TestJournalModel = JournalModel.TestCase
TestJournalModel.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)


def test_totals_agree_with_the_rows(journal: Journal):
    journal.append(rows(*((f"i{n}", b"x" * n) for n in range(20))))
    journal.append(rows(("i3", b"else"), ("i4", b"xxxx")))
    journal.erase(journal.seqs(id="i7"), reason="asked")
    journal.prune(through=10, max_bytes=150)
    connection: apsw.Connection = journal.database._connection
    live = connection.execute("SELECT count(*) FROM entries WHERE status = 0 AND kind = 'example'").get
    size = connection.execute("SELECT coalesce(sum(length(body)), 0) FROM bodies").get
    held = connection.execute("SELECT coalesce(sum(length(body)), 0) FROM quarantine").get
    assert journal.counts()["live"] == live
    assert journal.counts()["bytes"] == size + held
    assert journal.counts()["duplicates"] == 1
