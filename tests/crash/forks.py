"""A fork server: torch is imported and warmed once, every life is a forked child that may be killed.

A fork copies one thread only, so the server has one thread only, and says so where it has more.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Say = Callable[[bytes], Any]


@dataclass(frozen=True)
class Death:
    """How a child ended.

    Args:
        said: what it wrote, line by line.
        killed: by SIGKILL.
        code: its exit code otherwise.
    """

    said: list[bytes]
    killed: bool
    code: int | None


def live(work: Callable[[Say], object], *, kill_after: float | None = None) -> Death:
    """Run `work` in a forked child to its end, or until it is killed from outside after some seconds.

    An exception ends it with code 1, its traceback on standard error.
    """
    threads = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
    if threads != 1:
        raise RuntimeError(f"a fork server must have one thread, not {threads}")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            work(lambda line: os.write(writer, line + b"\n"))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().splitlines()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return Death(said, killed, None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def ask(work: Callable[[], Any]) -> Any:
    """The plain answer of `work`, computed in a forked child."""
    death = live(lambda say: say(json.dumps(work()).encode()))
    if death.code != 0 or len(death.said) != 1:
        raise RuntimeError(f"a child that should have answered died: {death}")
    return json.loads(death.said[0])


def spread(jobs: Sequence[Any], work: Callable[[Any, Path], Any], workers: int, room: Path) -> Iterator[Any]:
    """Answers of `work(job, folder)` as they come, from forked workers that share the jobs out evenly."""
    with selectors.DefaultSelector() as selector:
        children = []
        for number in range(min(workers, len(jobs))):
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                _serve(jobs[number::workers], work, room / f"worker-{number}", writer)
            os.close(writer)
            children.append(child)
            selector.register(os.fdopen(reader, "rb"), selectors.EVENT_READ, bytearray())
        yield from _collect(selector)
        for child in children:
            _, status = os.waitpid(child, 0)
            if status != 0:
                raise RuntimeError(f"worker {child} of the fork server died with status {status}")


def room() -> tempfile.TemporaryDirectory[str]:
    """A folder for homes, in memory where the system has one: what a kill or a cut leaves is the same."""
    shared = Path("/dev/shm")
    return tempfile.TemporaryDirectory(
        prefix="tenuto-crash-", dir=shared if os.access(shared, os.W_OK) else None
    )


def _serve(jobs: Sequence[Any], work: Callable[[Any, Path], Any], folder: Path, writer: int) -> None:
    code = 1
    try:
        folder.mkdir()
        with os.fdopen(writer, "wb") as pipe:
            for job in jobs:
                pipe.write(json.dumps(work(job, folder)).encode() + b"\n")
                pipe.flush()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _collect(selector: selectors.BaseSelector) -> Iterator[Any]:
    while selector.get_map():
        for key, _ in selector.select():
            data = os.read(key.fd, 1 << 16)
            if not data:
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
                continue
            key.data.extend(data)
            *lines, rest = key.data.split(b"\n")
            key.data[:] = rest
            yield from (json.loads(line) for line in lines)
