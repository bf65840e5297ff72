"""What SQLite does not read of its write-ahead log: a write that a power cut tore, or acknowledged rows?

It stops at the first frame whose checksum fails, and opens without a word. Every commit is synced before the
next one is written (synchronous=FULL), so a power cut can tear the last transaction alone: where another one
follows, a bit was turned over. A log's header is synced before its first frame is written, and not before all
that it replaces is in the database: a torn one leaves nothing else behind it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

HEADER, FRAME = struct.Struct(">8I"), struct.Struct(">6I")
MAGIC = 0x377F0683
Sum = tuple[int, int]


class Frame(NamedTuple):
    """One page as a transaction left it.

    Args:
        page: its number.
        pages: of the database after the commit that this frame ends; 0: it ends none.
        salts: of the log's generation.
        content: the page.
        intact: does its checksum follow from that of the frame before it?
    """

    page: int
    pages: int
    salts: tuple[int, int]
    content: bytes
    intact: bool


def hidden(path: Path, page_bytes: int, read: int) -> bool:
    """Does the log of a database hold what was acknowledged, beyond the frames that SQLite reads?

    Args:
        path: of the database, which nobody has changed since SQLite opened it.
        read: how many frames SQLite found sound.
    """
    log = path.with_name(path.name + "-wal")
    if not log.exists() or log.stat().st_size <= HEADER.size:
        return False
    data = log.read_bytes()
    magic, *_, salt, other, first, second = HEADER.unpack_from(data)
    sums = _sum((0, 0), data[: HEADER.size - 8], big=bool(magic & 1))
    sealed = magic | 1 == MAGIC and sums == (first, second)
    big = bool(magic & 1) if sealed else sys.byteorder == "big"
    beyond = list(_frames(data, page_bytes, read, big))
    if sealed:
        return _several([frame for frame in beyond if frame.intact and frame.salts == (salt, other)])
    return not _applied(path, _newest(beyond))


def _newest(frames: Sequence[Frame]) -> list[Frame]:
    """The frames of the last generation, where no later one had begun.

    A generation begins when all of the one before is in the database, with the first salt raised by one;
    it writes over the old frames from the first on, and so older ones may lie behind it.
    """
    sound = [frame for frame in frames if frame.intact and frame.page]
    if not sound:
        return []
    base = sound[0].salts[0] - 2**31
    newest = max((frame.salts for frame in sound), key=lambda salts: (salts[0] - base) % 2**32)
    if any(frame.salts[0] == (newest[0] + 1) % 2**32 for frame in frames):
        return []
    return [frame for frame in sound if frame.salts == newest]


def _frames(data: bytes, page_bytes: int, start: int, big: bool) -> Iterator[Frame]:
    """The frames from one on. A sum that was changed breaks the next one's too, unless that goes by what it
    should have been."""
    size = FRAME.size + page_bytes
    first = HEADER.size + start * size
    kept = reckoned = struct.unpack_from(">2I", data, first - size + 16 if start else HEADER.size - 8)
    if not start:
        reckoned = _sum((0, 0), data[: HEADER.size - 8], big=big)
    for at in range(first, len(data) - size + 1, size):
        page, pages, *salts, one, two = FRAME.unpack_from(data, at)
        content = data[at + FRAME.size : at + size]
        sums = [_sum(before, data[at : at + 8] + content, big=big) for before in (reckoned, kept)]
        kept = (one, two)
        reckoned = kept if kept in sums else sums[0]
        yield Frame(page, pages, (salts[0], salts[1]), content, kept in sums)


def _several(frames: Sequence[Frame]) -> bool:
    """Are they of more than one transaction? One writes a page once; padding repeats its commit."""
    pages: set[int] = set()
    ended: Frame | None = None
    for frame in frames:
        if ended is not None and frame[:2] == ended[:2]:
            continue
        if ended is not None or frame.page in pages:
            return True
        pages.add(frame.page)
        ended = frame if frame.pages else None
    return False


def _applied(path: Path, frames: Sequence[Frame]) -> bool:
    """Is the last committed version of every page in the database itself?"""
    last = max((n for n, frame in enumerate(frames) if frame.pages), default=-1)
    newest = {frame.page: frame.content for frame in frames[: last + 1]}
    with path.open("rb") as file:
        for page, content in newest.items():
            file.seek((page - 1) * len(content))
            if page <= frames[last].pages and file.read(len(content)) != content:
                return False
    return True


def _sum(before: Sum, data: bytes, *, big: bool) -> Sum:
    """SQLite's running checksum of a log (section 4.3 of its file format)."""
    first, second = before
    words = struct.unpack(f"{'>' if big else '<'}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
