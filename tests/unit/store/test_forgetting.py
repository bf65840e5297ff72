"""What is forgotten on purpose is in no file of the home, and does not come back."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tenuto.errors import ConfigError
from tenuto.store.home import Home
from tenuto.store.journal import Journal
from tenuto.store.records import Receipt, Refused, Row


def raw(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


@pytest.fixture
def journal(tmp_path: Path):
    journal = Journal(tmp_path / "ingest.db")
    yield journal
    journal.close()


def marked(n: int, size: int) -> bytes:
    return (b"M%06d-" % n) * (size // 8 + 1)


def marks(root: Path) -> set[int]:
    return {int(mark) for mark in re.findall(rb"M(\d{6})-", raw(root))}


def test_erasing_leaves_a_tombstone_and_a_command(journal: Journal, tmp_path: Path):
    rows = [Row(id=f"i{n}", body=marked(n, 800), principal=f"secret-person-{n}") for n in range(20)]
    journal.append(rows, source="s")
    assert marks(tmp_path) == set(range(20))
    done = journal.erase([5, 7], reason="asked by letter", at=9.0)
    assert (done.seq, done.entries, done.quarantined, done.scrubbed) == (21, 2, 0, True)
    assert marks(tmp_path) == set(range(20)) - {4, 6}
    assert b"person-1" in raw(tmp_path)
    assert b"person-4" not in raw(tmp_path)
    gone = journal.lookup("i4")
    assert (gone.seq, gone.status, gone.body, gone.principal, gone.sha256) == (
        5,
        "forgotten",
        None,
        None,
        None,
    )
    (command,) = journal.commands()
    assert (command.kind, command.received_at) == ("forget", 9.0)
    assert command.plain() == {"seqs": [5, 7], "reason": "asked by letter"}
    assert [entry.seq for entry in journal.examples(limit=6)] == [1, 2, 3, 4, 6, 8]


def test_the_forgotten_is_never_learned_again(journal: Journal, tmp_path: Path):
    journal.append([Row(id="a", body=marked(1, 100)), Row(id="b", body=b"kept")])
    journal.erase(journal.seqs(id="a"), reason="asked")
    again = journal.append([Row(id="a", body=marked(1, 100)), Row(id="a", body=marked(2, 100))])
    derived = journal.append([Row(id="c", body=marked(3, 100), derived_from=("b", "a"))])
    broken = journal.append([], refused=[Refused(id="a", body=marked(4, 100), reason="NaN")])
    assert again == Receipt(forgotten=2)
    assert derived == broken == Receipt(forgotten=1)
    assert marks(tmp_path) == set()
    assert journal.lookup("c").status == "forgotten"
    assert journal.quarantined() == []
    assert journal.erase([1], reason="again").entries == 0
    assert journal.seqs(id="a") == []


def test_descendants_are_closed_over_derivation(journal: Journal):
    journal.append([Row(id="a", body=b"1"), Row(id="b", body=b"2", derived_from=("a",))])
    journal.append([Row(id="c", body=b"3", derived_from=("z", "b")), Row(id="d", body=b"4")])
    journal.append(
        [Row(id="e", body=b"5", derived_from=("c", "d")), Row(id="z", body=b"6", derived_from=("e",))]
    )
    assert journal.descendants([1]) == [1, 2, 3, 5, 6]
    assert journal.descendants([4]) == [3, 4, 5, 6]
    assert journal.descendants([]) == []


def test_by_source_and_by_principal(journal: Journal, tmp_path: Path):
    journal.append([Row(id="a", body=marked(1, 50), principal="eve")], source="web")
    journal.append([Row(id="b", body=marked(2, 50), principal="ann")], source="web")
    journal.append([Row(id="c", body=marked(3, 50), principal="eve")], source="file")
    journal.append([], refused=[Refused(id="q", body=marked(4, 50), reason="NaN", principal="eve")])
    journal.append([Row(id="b", body=marked(5, 50), principal="ann")], source="file")
    journal.append(
        [], source="file", refused=[Refused(id="r", body=marked(6, 50), reason="NaN", derived_from=("a",))]
    )
    assert journal.seqs(source="web") == [1, 2]
    assert journal.seqs(principal="eve") == [1, 3]
    assert journal.seqs(principal="eve", source="web") == [1]
    assert len(journal.quarantined()) == 3
    done = journal.erase(journal.seqs(principal="eve"), reason="account closed", principal="eve")
    assert (done.entries, done.quarantined) == (2, 2)
    assert marks(tmp_path) == {2, 5}
    done = journal.erase(journal.seqs(source="web"), reason="source closed", source="web")
    assert (done.entries, done.quarantined) == (1, 1)
    assert marks(tmp_path) == set()
    assert b"eve" not in raw(tmp_path)


@pytest.mark.parametrize("id", ["a\0b", "", "é\"\\'", "\U0001f600", "x" * 100_000])
def test_odd_ids(journal: Journal, id: str):
    clashing = [Row(id=id, body=b"1"), Row(id=id, body=b"1"), Row(id=id, body=b"2")]
    receipt = journal.append([*clashing, Row(id="child", body=b"3", derived_from=(id,))])
    assert (receipt.accepted, receipt.duplicates, receipt.quarantined) == (2, 1, 1)
    assert journal.lookup(id).id == id
    assert journal.descendants(journal.seqs(id=id)) == [1, 2]
    done = journal.erase([1, 2], reason="asked")
    assert (done.entries, done.quarantined, journal.quarantined()) == (2, 1, [])


@pytest.mark.parametrize("seq", [0, 2, 99])
def test_only_examples_can_be_forgotten(journal: Journal, seq: int):
    journal.append([Row(id="a", body=b"1")])
    journal.command("flush", {})
    with pytest.raises(ConfigError, match=f"entry {seq} cannot be forgotten"):
        journal.erase([1, seq], reason="asked")
    assert journal.lookup("a").status == "live"
    assert journal.last_seq == 2
    with pytest.raises(ConfigError, match="nothing was named"):
        journal.seqs()


@pytest.mark.parametrize("seed", range(6))
def test_no_byte_stays_whatever_retention_moved_before(tmp_path: Path, seed: int):
    """Retention's deletions move neighbours between pages and leave copies in the gaps."""
    draw = random.Random(seed)
    journal = Journal(tmp_path / "ingest.db")
    sizes = draw.choice([[20, 2048], [900, 1600, 16384], [400], [20, 256, 3000]])
    count = 300
    journal.append([Row(id=f"i{n}", body=marked(n, draw.choice(sizes))) for n in range(count)], at=1.0)
    alive, moved = set(range(count)), False
    while len(alive) > 150:
        pinned = {n + 1 for n in alive if draw.random() < 0.3}
        kept = journal.counts()["bytes"]
        pruned = journal.prune(through=count, max_bytes=int(kept * 0.9), pinned=pinned.__contains__)
        moved = moved or pruned.entries > 0
        alive -= {entry.seq - 1 for entry in journal.read(limit=count) if entry.status != "live"}
        chosen = draw.sample(sorted(alive), 5)
        assert journal.erase([n + 1 for n in chosen], reason="asked").scrubbed
        alive -= set(chosen)
        assert not marks(tmp_path) - alive
    assert moved
    assert {entry.seq - 1 for entry in journal.examples(limit=count)} == alive == marks(tmp_path)
    for entry in journal.examples(limit=count):
        assert entry.body == marked(entry.seq - 1, len(entry.body) - 8)
    journal.close()


READER = """
import sys
from pathlib import Path
from tenuto.store.journal import Journal
journal = Journal(Path(sys.argv[1]), readonly=True)
journal.database._connection.execute("BEGIN")
print(len(journal.read()), flush=True)
sys.stdin.readline()
"""


def test_a_reader_elsewhere_holds_up_the_scrub_but_not_the_forgetting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tenuto.store.database.BUSY_MS", 50)
    journal = Journal(tmp_path / "ingest.db")
    journal.append([Row(id="a", body=marked(1, 100)), Row(id="b", body=marked(2, 100))])
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(tmp_path / "ingest.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout.readline() == "2\n"
    done = journal.erase([1], reason="asked")
    assert (done.entries, done.scrubbed, journal.lookup("a").body) == (1, False, None)
    reader.communicate("done\n")
    assert journal.scrub()
    assert marks(tmp_path) == {2}
    journal.close()


def test_a_crash_before_the_scrub_is_made_good_at_the_next_start(tmp_path: Path):
    script = """
import os, sys
from pathlib import Path
from tenuto.store.journal import Journal
from tenuto.store.records import Row
journal = Journal(Path(sys.argv[1]))
journal.append([Row(id=f"i{n}", body=(b"M%06d-" % n) * 100) for n in range(50)])
journal.prune(through=20, max_bytes=30000)
journal.scrub = lambda: os._exit(9)
journal.erase([40], reason="asked")
"""
    path = tmp_path / "ingest.db"
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9
    assert 39 in marks(tmp_path)
    Journal(path).close()
    assert 39 not in marks(tmp_path)


def test_no_file_of_the_home_keeps_it(tmp_path: Path):
    with Home.create(tmp_path / "home", config={}) as home:
        home.journal.append([Row(id="a", body=marked(1, 5000)), Row(id="b", body=marked(2, 5000))])
        home.journal.erase([1], reason="asked")
        assert marks(tmp_path) == {2}
    assert marks(tmp_path) == {2}
