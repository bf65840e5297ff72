"""Every kind of damage is found, named by file, with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tenuto.errors import CorruptHome
from tenuto.store.home import Home
from tenuto.store.integrity import check
from tenuto.store.manifest import reachable
from tenuto.store.records import Row, Step


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Home.create(tmp_path / "home", config={}) as home:
        home.journal.append([Row(id=f"i{n}", body=b"BODY%04d" % n * 100) for n in range(100)])
        home.journal.command("take", {"seqs": [1, 2, 3]})
        home.journal.erase([5], reason="asked")
        home.journal.prune(through=10, max_bytes=79_000)
        row = home.snapshots.take(
            {"w": torch.randn(500)}, memory={0: 1}, k=0, cursor={"seq": 0}, environment={}, digest=""
        )
        home.ledger.commit([], cursor={"seq": 0}, snapshot=row)
        home.ledger.audit("approve", {"who": "ann"})
    return tmp_path / "home"


def flip(file: Path, where: int) -> None:
    data = bytearray(file.read_bytes())
    data[where] ^= 1
    file.write_bytes(data)


def test_a_sound_home_has_no_findings_and_is_not_changed(path: Path):
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with Home.view(path) as home:
        assert check(home) == []
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_a_flipped_bit_in_a_body(path: Path):
    flip(path / "ingest.db", (path / "ingest.db").read_bytes().index(b"BODY0050") + 300)
    with Home.view(path) as home:
        (finding,) = check(home)
        with pytest.raises(CorruptHome, match="entry 51"):
            home.journal.lookup("i50")
        with pytest.raises(CorruptHome, match="entry 51"):
            home.journal.read()
    assert finding.file == str(path / "ingest.db")
    assert "entry 51 (id 'i50')" in finding.problem
    assert "send it again" in finding.remedy


def test_a_flipped_bit_in_a_command(path: Path):
    where = (path / "ingest.db").read_bytes().index(b"\xa4seqs\x93\x01\x02\x03")
    flip(path / "ingest.db", where + 7)
    with Home.view(path) as home:
        (finding,) = check(home)
    assert "entry 101" in finding.problem


def test_a_flipped_bit_in_a_blob(path: Path):
    with Home.view(path) as home:
        (row,) = home.snapshots.list()
        for name in reachable(row.manifest):
            flip(home.blobs.path(name), -3)
            (finding,) = check(home)
            assert name[2:] in finding.problem
            flip(home.blobs.path(name), -3)
        assert check(home) == []


def test_a_flipped_bit_in_the_audit_log_and_in_the_head(path: Path):
    data = (path / "state.db").read_bytes()
    flip(path / "state.db", data.index(b'{"who": "ann"}') + 10)
    with Home.view(path) as home:
        (finding,) = check(home)
    assert "row 1 of the audit log" in finding.problem
    flip(path / "state.db", data.index(b'{"who": "ann"}') + 10)
    flip(path / "state.db", data.index(b'"digest"') + 2)
    with Home.view(path) as home:
        problems = [finding.problem for finding in check(home)]
    assert problems
    assert all("seal" in problem for problem in problems)


def test_a_broken_page(path: Path):
    data = bytearray((path / "state.db").read_bytes())
    data[3 * 8192 : 3 * 8192 + 8] = b"\xff" * 8
    (path / "state.db").write_bytes(data)
    with Home.view(path) as home:
        findings = check(home)
    assert findings
    assert {finding.file for finding in findings} == {str(path / "state.db")}
    assert all(finding.remedy for finding in findings)


@pytest.mark.parametrize("name", ["ingest.db", "state.db"])
def test_a_flipped_letter_of_the_schema(path: Path, name: str):
    data = (path / name).read_bytes()
    text = {"ingest.db": b"received_at REAL", "state.db": b"slot INTEGER"}[name]
    flip(path / name, data.index(text) + len(text) - 1)
    with pytest.raises(CorruptHome, match=name), Home.open(path):
        pass


def test_a_live_entry_without_a_body(path: Path):
    with Home.open(path) as home:
        with home.journal.database.transaction() as connection:
            connection.execute("DELETE FROM bodies WHERE seq = 51")
        with pytest.raises(CorruptHome, match="entry 51"):
            home.journal.lookup("i50")


@pytest.mark.parametrize(
    "change",
    [
        "SET status = 1 WHERE seq = 51",
        "SET status = 2 WHERE seq = 51",
        "SET status = 77 WHERE seq = 51",
        "SET status = x'' WHERE seq = 51",
        "SET kind = 'examqle' WHERE seq = 51",
        "SET status = 0 WHERE seq = 5",
        "SET kind = 'example' WHERE seq = 101",
    ],
)
def test_an_entry_changed_in_kind_or_status_is_not_passed_over(path: Path, change: str):
    with Home.open(path) as home:
        with home.journal.database.transaction() as connection:
            connection.execute(f"UPDATE entries {change}")
        with pytest.raises(CorruptHome):
            home.journal.examples()
        with pytest.raises(CorruptHome):
            _ = [home.journal.examples(after=after, limit=60) for after in (2, 62)]
        assert check(home)


@pytest.mark.parametrize(
    ("change", "seq"),
    [
        ("SET id = 'i51x' WHERE seq = 51", 51),
        ("SET kind = 'tale' WHERE seq = 101", 101),
        ("SET after = 3 WHERE seq = 101", 101),
    ],
)
def test_an_entry_changed_in_what_its_hash_covers(path: Path, change: str, seq: int):
    with Home.open(path) as home:
        with home.journal.database.transaction() as connection:
            connection.execute(f"UPDATE entries {change}")
        with pytest.raises(CorruptHome, match=f"entry {seq}"):
            home.journal.fetch([seq])
        assert check(home)


def test_a_meta_value_of_another_type(path: Path):
    with Home.open(path) as home:
        with home.ledger.database.transaction() as connection:
            connection.execute("UPDATE meta SET value = x'00' WHERE key = 'head'")
        with pytest.raises(CorruptHome, match="'head'"):
            _ = home.ledger.head


@pytest.mark.parametrize("change", ["UPDATE steps SET k = 12 WHERE k = 4", "DELETE FROM steps WHERE k = 2"])
def test_a_step_whose_number_was_changed(path: Path, change: str):
    with Home.open(path) as home:
        steps = [Step(k=k, first_seq=k, last_seq=k, rows=1) for k in range(1, 5)]
        home.ledger.commit(steps, cursor={"seq": 4}, digest="")
        assert check(home) == []
        with home.ledger.database.transaction() as connection:
            connection.execute(change)
        (finding,) = check(home)
    assert finding.file == str(path / "state.db")
    assert "stands at step 4 and holds" in finding.problem
