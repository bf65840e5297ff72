"""A full or failing disk: a clear error, a read-only home, and nothing lost or corrupt."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
import torch

from tenuto.errors import OutOfSpace
from tenuto.store.home import Home
from tenuto.store.integrity import check
from tenuto.store.journal import Journal
from tenuto.store.records import Row, Step

SIZE = 2 << 20


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of two MiB."""
    libc = ctypes.CDLL(None, use_errno=True)
    mount = tmp_path / "tiny"
    mount.mkdir()
    if libc.mount(b"none", str(mount).encode(), b"tmpfs", 0, f"size={SIZE}".encode()) != 0:
        pytest.skip("mounting a small file system needs root")
    yield mount
    libc.umount2(str(mount).encode(), 2)


def fill(path: Path, leave: int = 0) -> None:
    with open(path, "wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass
        file.truncate(max(0, file.tell() - leave))


def read_only(home: Home) -> None:
    """Every kind of write is refused, every kind of read works."""
    writes = [
        lambda: home.journal.append([Row(id="late", body=b"x")]),
        lambda: home.journal.command("flush", {}),
        lambda: home.journal.erase([1], reason="asked"),
        lambda: home.journal.prune(through=0),
        lambda: home.journal.scrub(),
        lambda: home.ledger.commit([], cursor={}),
        lambda: home.ledger.audit("approve", {}),
        lambda: home.ledger.prune(steps_before=1),
        lambda: home.snapshots.take(
            {"w": torch.ones(2)}, memory={}, k=0, cursor={}, environment={}, digest=""
        ),
        lambda: home.disk.delete(home.path / "any"),
    ]
    for write in writes:
        with pytest.raises(OutOfSpace, match="read-only until it is opened again"):
            write()
    assert home.refusal
    assert home.journal.last_seq == len(home.journal.read(limit=10**6))
    assert home.ledger.head.k == len(home.ledger.steps())


def test_the_journal_fills_the_disk(tiny: Path):
    home = Home.create(tiny / "home", config={"kept": True})
    acknowledged = 0

    def append() -> None:
        nonlocal acknowledged
        while acknowledged < SIZE // 900:
            rows = [Row(id=f"{acknowledged + n}", body=os.urandom(900)) for n in range(50)]
            acknowledged += home.journal.append(rows).accepted

    with pytest.raises(OutOfSpace, match=r"ingest\.db could not be written.*Free space"):
        append()
    read_only(home)
    assert acknowledged > 500
    home.close()
    with Home.view(tiny / "home") as view:
        assert view.journal.last_seq == acknowledged
        assert check(view) == []


def test_room_made_the_home_opens_and_goes_on(tiny: Path):
    ballast = tiny / "ballast"
    ballast.write_bytes(b"\0" * (SIZE // 2))
    home = Home.create(tiny / "home", config={})
    home.journal.append([Row(id="a", body=b"1" * 1000)])
    fill(tiny / "more")
    with pytest.raises(OutOfSpace):
        home.journal.append([Row(id=f"b{n}", body=os.urandom(900)) for n in range(200)])
    read_only(home)
    ballast.unlink()
    with pytest.raises(OutOfSpace):
        home.journal.append([Row(id="c", body=b"1")])
    home.close()
    with Home.open(tiny / "home") as home:
        assert home.journal.last_seq == 1
        assert home.journal.append([Row(id="c", body=b"1")]).accepted == 1
        assert check(home) == []


def test_the_ledger_and_the_blobs_meet_a_full_disk(tiny: Path):
    home = Home.create(tiny / "home", config={})
    row = home.snapshots.take(
        {"w": torch.randn(100)}, memory={}, k=0, cursor={"seq": 0}, environment={}, digest=""
    )
    home.ledger.commit([], cursor={"seq": 0}, snapshot=row)
    fill(tiny / "ballast", leave=8192)
    with pytest.raises(OutOfSpace, match="blobs"):
        home.snapshots.take({"w": torch.randn(10_000)}, memory={}, k=0, cursor={}, environment={}, digest="")
    read_only(home)
    home.close()
    (tiny / "ballast").unlink()
    with Home.open(tiny / "home") as home:
        assert home.snapshots.newest_valid() == row
        fill(tiny / "ballast")
        steps = [Step(k=k, first_seq=k, last_seq=k, rows=1, replayed=os.urandom(800)) for k in range(1, 1000)]
        with pytest.raises(OutOfSpace, match=r"state\.db"):
            home.ledger.commit(steps, cursor={"seq": 999})
        read_only(home)
    (tiny / "ballast").unlink()
    with Home.open(tiny / "home") as home:
        assert (home.ledger.head.k, home.ledger.head.cursor) == (0, {"seq": 0})
        assert check(home) == []
        assert not list(tiny.rglob("*.tmp"))


def test_a_home_cannot_be_made_on_a_full_disk(tiny: Path):
    fill(tiny / "ballast")
    with pytest.raises(OutOfSpace):
        Home.create(tiny / "home", config={})
    (tiny / "ballast").unlink()
    Home.create(tiny / "home", config={}).close()


LIMITED = """
import os, resource, signal, sys
from tenuto.errors import OutOfSpace
from tenuto.store.home import Home
from tenuto.store.records import Row
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
home = Home.create(sys.argv[1], config={})
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
done = 0
try:
    while True:
        home.journal.append([Row(id=f"{done}", body=os.urandom(5000))])
        done += 1
except OutOfSpace:
    assert home.journal.last_seq == done
    home.close()
    print(done)
"""


def test_a_real_limit_on_file_size(tmp_path: Path):
    path = str(tmp_path / "home")
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True)
    with Home.open(path) as home:
        assert home.journal.last_seq == int(done.stdout) > 10
        assert check(home) == []


class Faulty(apsw.VFS):
    """A disk that stops taking writes, truncations or syncs after a number of them."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.call, self.left, self.error = "", 0, apsw.IOError

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return FaultyFile(self, name, flags)

    def count(self, call: str) -> None:
        if call == self.call:
            self.left -= 1
            if self.left < 0:
                raise self.error(f"simulated {call}")


class FaultyFile(apsw.VFSFile):
    def __init__(self, disk: Faulty, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self.disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.count("xWrite")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self.disk.count("xSync")
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:
        self.disk.count("xTruncate")
        super().xTruncate(size)


@pytest.mark.parametrize("error", [apsw.IOError, apsw.FullError])
@pytest.mark.parametrize("call", ["xWrite", "xSync"])
def test_any_write_or_sync_may_fail_and_nothing_acknowledged_is_lost(tmp_path: Path, call: str, error: type):
    disk = Faulty("faulty")
    outcomes = set()
    for left in range(60):
        path = tmp_path / f"{call}{left}"
        path.mkdir()
        disk.call = ""
        journal = Journal(path / "ingest.db", vfs="faulty")
        acknowledged = 0
        disk.call, disk.left, disk.error = call, left, error
        try:
            for n in range(8):
                journal.append(
                    [Row(id=f"{n}-{i}", body=bytes([n]) * 1000) for i in range(10)], offset=n, source="s"
                )
                acknowledged += 10
                if n == 4:
                    journal.erase([3], reason="asked")
                    acknowledged += 1
                    journal.prune(through=20, max_bytes=40_000)
            outcomes.add("done")
        except OutOfSpace:
            outcomes.add("refused")
            with pytest.raises(OutOfSpace):
                journal.append([Row(id="late", body=b"x")])
            assert journal.last_seq == len(journal.read())
        disk.call = ""
        journal.close()
        again = Journal(path / "ingest.db")
        assert again.last_seq >= acknowledged
        assert again.last_seq - acknowledged <= 10
        assert again.database.problems() == []
        assert [entry.seq for entry in again.read()] == list(range(1, again.last_seq + 1))
        again.close()
    assert "refused" in outcomes
    disk.unregister()
