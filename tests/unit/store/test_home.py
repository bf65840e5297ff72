"""A home has one writer, any number of viewers, and errors that say what to do."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tenuto.errors import CorruptHome, HomeLocked, HomeMissing, HomeTooNew, StoreError
from tenuto.store.database import set_meta
from tenuto.store.home import Home
from tenuto.store.records import Row


def tree(root: Path) -> dict[str, tuple[int, str]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files
    }


def test_a_home_comes_back(tmp_path: Path):
    with Home.create(tmp_path / "a" / "b" / "home", config={"method": "er", "size": 3}) as home:
        home.journal.append([Row(id="a", body=b"1")])
    with Home.open(str(tmp_path / "a" / "b" / "home")) as home:
        assert home.config == {"method": "er", "size": 3}
        assert home.journal.last_seq == 1
        assert home.refusal is None


def test_a_view_changes_no_byte_and_takes_no_lock(tmp_path: Path):
    Home.create(tmp_path / "home", config={"x": 1}).close()
    before = tree(tmp_path)
    with Home.view(tmp_path / "home") as view:
        assert view.config == {"x": 1}
        with pytest.raises(StoreError, match="read-only"):
            view.journal.append([Row(id="a", body=b"1")])
    assert tree(tmp_path) == before
    with Home.open(tmp_path / "home") as home, Home.view(tmp_path / "home") as view:
        home.journal.append([Row(id="a", body=b"1")])
        assert view.journal.last_seq == 1


HOLDER = """
import sys
from tenuto.store.home import Home
home = Home.open(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_holds_it_and_a_killed_holder_lets_go(tmp_path: Path):
    Home.create(tmp_path / "home", config={}).close()
    holder = hold(tmp_path / "home")
    with pytest.raises(HomeLocked, match=f"process {holder.pid}"):
        Home.open(tmp_path / "home")
    with pytest.raises(HomeLocked):
        Home.create(tmp_path / "home", config={})
    with Home.view(tmp_path / "home") as view:
        assert view.config == {}
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with Home.open(tmp_path / "home") as home, pytest.raises(HomeLocked, match=f"process {os.getpid()}"):
        Home.open(home.path)
    Home.open(tmp_path / "home").close()


@pytest.mark.parametrize("how", [Home.open, Home.view])
def test_what_is_no_home_is_said_to_be_missing(tmp_path: Path, how):
    with pytest.raises(HomeMissing, match="there is no home"):
        how(tmp_path / "none")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(HomeMissing, match="is not a home"):
        how(tmp_path / "other")
    assert os.listdir(tmp_path) == ["other"]
    assert os.listdir(tmp_path / "other") == ["notes.txt"]


def test_create_takes_no_directory_of_others(tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"'notes\.txt'"):
        Home.create(tmp_path / "other", config={})
    assert os.listdir(tmp_path / "other") == ["notes.txt"]
    Home.create(tmp_path / "home", config={"first": True}).close()
    with pytest.raises(StoreError, match="a home already"):
        Home.create(tmp_path / "home", config={})
    with Home.view(tmp_path / "home") as view:
        assert view.config == {"first": True}
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        Home.create(tmp_path / "file", config={})


def test_a_creation_cut_short_is_completed(tmp_path: Path):
    whole = Home.create(tmp_path / "whole", config={})
    whole.close()
    for kept in ([], ["lock"], ["lock", "ingest.db"], ["lock", "ingest.db", "state.db"]):
        path = tmp_path / f"cut{len(kept)}"
        path.mkdir()
        for name in kept:
            shutil.copy(tmp_path / "whole" / name, path)
        if "state.db" in kept:
            (path / "state.db").write_bytes(b"")
        with pytest.raises(HomeMissing):
            Home.open(path)
        with Home.create(path, config={"again": 1}) as home:
            assert home.config == {"again": 1}


@pytest.mark.parametrize("part", ["journal", "ledger"])
def test_a_newer_home_is_left_alone(tmp_path: Path, part: str):
    with Home.create(tmp_path / "home", config={}) as home:
        database = getattr(home, part).database
        with database.transaction() as connection:
            set_meta(connection, "format", 9)
    for how in (Home.open, Home.view):
        with pytest.raises(HomeTooNew, match=r"format 9, this release reads up to 1"):
            how(tmp_path / "home")


@pytest.mark.parametrize("name", ["ingest.db", "state.db"])
@pytest.mark.parametrize("damage", ["header", "middle", "cut"])
def test_a_damaged_database_is_corrupt(tmp_path: Path, name: str, damage: str):
    with Home.create(tmp_path / "home", config={}) as home:
        home.journal.append([Row(id=f"{n}", body=b"x" * 500) for n in range(200)])
    path = tmp_path / "home" / name
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[:100] = b"\x00garbage!" * 11 + b"\x00"
    elif damage == "middle":
        data[8192:] = b"\xff" * (len(data) - 8192)
    else:
        del data[len(data) // 2 :]
    path.write_bytes(data)

    def use() -> None:
        with Home.open(tmp_path / "home") as home:
            home.journal.read()
            home.journal.counts()
            home.ledger.memory()

    with pytest.raises(CorruptHome, match=name):
        use()
    shutil.rmtree(tmp_path / "home")


FOREIGNER = """
import os, sys
from tenuto.errors import StoreError
from tenuto.store.home import Home
os.setgid(65534)
os.setuid(65534)
outcomes = []
for how in (Home.open, Home.view, lambda path: Home.create(path, config={})):
    try:
        how(sys.argv[1])
    except StoreError as error:
        outcomes.append(type(error).__name__)
        assert sys.argv[1] in str(error), error
print(*outcomes)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user needs root")
@pytest.mark.parametrize("mode", [0o000, 0o555])
def test_a_home_of_someone_else(mode: int):
    root = Path("/tmp") / f"tenuto-{os.getpid()}-{time.monotonic_ns()}"
    try:
        Home.create(root, config={}).close()
        os.chmod(root, mode)
        done = subprocess.run(
            [sys.executable, "-c", FOREIGNER, str(root)], capture_output=True, text=True, check=False
        )
    finally:
        os.chmod(root, 0o755)
        shutil.rmtree(root)
    assert done.returncode == 0, done.stderr
    opened, *rest = done.stdout.split()
    assert opened in {"StoreError", "CorruptHome"}
    assert len(rest) == (2 if mode == 0 else 1)


STATUS = """
import sys, time
start = time.process_time()
from tenuto.store.home import Home
with Home.view(sys.argv[1]) as home:
    home.config, home.journal.counts(), home.ledger.head, home.ledger.curve(), home.ledger.memory()
    home.snapshots.list()
spent = time.process_time() - start
heavy = {"torch", "numpy", "safetensors"} & set(sys.modules)
print(spent, *heavy)
"""


def test_status_imports_nothing_heavy_and_is_quick(tmp_path: Path):
    with Home.create(tmp_path / "home", config={}) as home:
        row = home.snapshots.take(
            {"w": torch.zeros(3)}, memory={0: 1}, k=0, cursor={}, environment={}, digest=""
        )
        home.ledger.commit([], cursor={}, snapshot=row)
    best = 1.0
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", STATUS, str(tmp_path / "home")], capture_output=True, text=True, check=True
        )
        spent, *heavy = done.stdout.split()
        assert heavy == []
        best = min(best, float(spent))
    assert best < 0.15
