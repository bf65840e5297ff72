"""Whole files, in the one order that survives a power cut."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tenuto.errors import CorruptHome, OutOfSpace, StoreError
from tenuto.store.disk import GROUP, Disk
from tenuto.store.system import Posix


class Recorder(Posix):
    """The real calls, written down; one of them may fail."""

    def __init__(self, fail: str = "", code: int = errno.ENOSPC, after: int = 0) -> None:
        self.calls: list[tuple[str, str]] = []
        self.fail, self.code, self.after = fail, code, after
        self.files: dict[int, str] = {}

    def _note(self, call: str, name: str) -> None:
        self.calls.append((call, name))
        if call == self.fail:
            if self.after == 0:
                raise OSError(self.code, os.strerror(self.code))
            self.after -= 1

    def create(self, path: Path) -> int:
        self._note("create", path.name)
        file = super().create(path)
        self.files[file] = path.name
        return file

    def write(self, file: int, data: bytes | memoryview) -> int:
        self._note("write", self.files[file])
        return super().write(file, data[:1000])

    def fsync(self, file: int) -> None:
        if file in self.files:
            self._note("fsync", self.files[file])
        super().fsync(file)

    def close(self, file: int) -> None:
        self.files.pop(file)
        super().close(file)

    def rename(self, old: Path, new: Path) -> None:
        self._note("rename", new.name)
        super().rename(old, new)

    def mkdir(self, path: Path) -> None:
        self._note("mkdir", path.name)
        super().mkdir(path)

    def fsync_dir(self, path: Path) -> None:
        self._note("fsync_dir", path.name)
        super().fsync_dir(path)


def test_the_order_of_a_write(tmp_path: Path):
    system = Recorder()
    Disk(system).write(tmp_path / "a" / "b" / "file", b"x" * 10, b"y" * 10)
    assert system.calls == [
        ("mkdir", "a"),
        ("fsync_dir", tmp_path.name),
        ("mkdir", "b"),
        ("fsync_dir", "a"),
        ("create", "file.tmp"),
        ("write", "file.tmp"),
        ("write", "file.tmp"),
        ("fsync", "file.tmp"),
        ("rename", "file"),
        ("fsync_dir", "b"),
    ]
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"x" * 10 + b"y" * 10


def test_what_another_process_left_is_made_durable_before_it_is_relied_on(tmp_path: Path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    system = Recorder()
    disk = Disk(system)
    disk.settle(folder)
    assert system.calls == [("fsync_dir", "b"), ("fsync_dir", "a")]
    disk.settle(folder)
    assert len(system.calls) == 2


def test_short_writes_are_continued_and_groups_are_whole(tmp_path: Path):
    system = Recorder()
    files = [(tmp_path / "d" / f"{n}", (bytes([n]) * 2500,)) for n in range(GROUP + 3)]
    Disk(system).write_all(files)
    for n in range(GROUP + 3):
        assert (tmp_path / "d" / f"{n}").read_bytes() == bytes([n]) * 2500
    calls = [call for call, _ in system.calls]
    first = calls[: calls.index("rename")]
    assert (first.count("create"), first.count("fsync")) == (GROUP, GROUP)
    assert calls.count("fsync_dir") == 3


def test_overwriting_shows_old_or_new(tmp_path: Path):
    Disk().write(tmp_path / "f", b"old")
    with pytest.raises(OutOfSpace):
        Disk(Recorder("fsync")).write(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("call", ["create", "write", "fsync", "rename", "fsync_dir", "mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_refused_write_blows_the_fuse_and_leaves_nothing_half(tmp_path: Path, call: str, code: int):
    system = Recorder(call, code)
    disk = Disk(system)
    with pytest.raises(OutOfSpace, match="Free space"):
        disk.write_all([(tmp_path / "d" / "one", (b"1" * 2000,)), (tmp_path / "d" / "two", (b"2",))])
    assert [name for name in disk.names(tmp_path / "d") if (tmp_path / "d" / name).stat().st_size == 0] == []
    assert [name for name in os.listdir(tmp_path) if name.endswith(".tmp")] == []
    assert not list(tmp_path.glob("d/*.tmp"))
    assert not system.files
    system.fail = ""
    for write in (lambda: disk.write(tmp_path / "e", b""), lambda: disk.delete(tmp_path / "e")):
        with pytest.raises(OutOfSpace, match=os.strerror(code)):
            write()
    Disk(system).write(tmp_path / "d" / "one", b"later")


def test_other_failures_do_not_blow_the_fuse(tmp_path: Path):
    disk = Disk(Recorder("create", errno.EMFILE))
    with pytest.raises(StoreError, match="Too many open files") as caught:
        disk.write(tmp_path / "f", b"")
    assert not isinstance(caught.value, OutOfSpace)
    assert disk.fuse.reason is None


def test_a_folder_that_vanished_is_a_clear_error(tmp_path: Path):
    disk = Disk()
    disk.write(tmp_path / "d" / "one", b"1")
    (tmp_path / "d" / "one").unlink()
    (tmp_path / "d").rmdir()
    with pytest.raises(StoreError, match="No such file"):
        disk.write(tmp_path / "d" / "two", b"2")


def test_names_leave_out_temporary_files_and_sweep_removes_them(tmp_path: Path):
    disk = Disk()
    disk.write(tmp_path / "kept", b"k")
    (tmp_path / "half.tmp").write_bytes(b"h")
    assert disk.names(tmp_path) == ["kept"]
    disk.sweep(tmp_path)
    assert os.listdir(tmp_path) == ["kept"]
    assert disk.names(tmp_path / "none") == []


def test_a_missing_file_is_a_corrupt_home(tmp_path: Path):
    with pytest.raises(CorruptHome, match="gone"):
        Disk().read(tmp_path / "gone")
    Disk().delete(tmp_path / "gone")


LIMITED = """
import resource, signal, sys
from pathlib import Path
from tenuto.errors import OutOfSpace
from tenuto.store.disk import Disk
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
disk, root = Disk(), Path(sys.argv[1])
disk.write(root / "small", b"s" * 4096)
try:
    disk.write(root / "large", b"l" * 10000)
except OutOfSpace as error:
    sys.exit(3 if "File too large" in str(error) else 4)
"""


def test_a_real_limit_on_file_size(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], check=False)
    assert done.returncode == 3
    assert os.listdir(tmp_path) == ["small"]
