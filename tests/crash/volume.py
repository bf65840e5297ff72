"""A simulated disk: what may be left of files after the power went, given every operation up to then.

Promised to survive: what a file held at its last sync, and the names in a folder at that folder's last sync.
Anything since may be there or not, each write by itself, in part (by sectors, the lost ones old, zero or
garbage) and in any order; so may each name that was made, moved or removed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.crash.taps import Op

SECTOR = 512
FATES = ("none", "all", "prefix", "any", "torn", "garbage", "shuffled")
Image = dict[str, bytes]


@dataclass(eq=False)
class File:
    """One file: what is on the disk, and what was written since its last sync, in order."""

    synced: bytes = b""
    loose: list[tuple[int, Op]] = field(default_factory=list)

    def sync(self) -> None:
        """Everything written so far is on the disk."""
        if self.loose:
            self.synced = _written(self.synced, (op for _, op in self.loose))
            self.loose = []

    def survive(self, fate: str, until: float, draw: random.Random) -> bytes:
        """Its content after a power cut."""
        if not self.loose or fate == "none":
            return self.synced
        ops = [op for number, op in self.loose if number <= until]
        if fate in ("any", "shuffled"):
            ops = [op for op in ops if draw.random() < 0.5]
        if fate == "shuffled":
            draw.shuffle(ops)
        if fate in ("torn", "garbage"):
            ops = [part for op in ops for part in _torn(op, draw, fate == "garbage")]
        elif fate == "prefix" and ops:
            ops[-1] = _cut(ops[-1], draw)
        return _written(self.synced, ops)


FOLDER = File()
"""Stands for every folder: its names lie in the volume."""


class Volume:
    """Files by path, as a running system sees them and as the disk promises them.

    Args:
        held: what was there, durably, before the first operation.
        folders: likewise.
    """

    def __init__(self, held: Image, folders: Iterable[str]) -> None:
        self._seen: dict[str, File] = dict.fromkeys(folders, FOLDER)
        self._seen |= {path: File(data) for path, data in held.items()}
        self._durable = dict(self._seen)
        self._loose: dict[str, list[tuple[int, dict[str, File | None]]]] = {}
        self._number = 0

    def apply(self, op: Op) -> None:
        """One operation has returned."""
        self._number += 1
        match op.kind:
            case "write" | "truncate":
                self._seen[op.path].loose.append((self._number, op))
            case "sync":
                self._seen[op.path].sync()
            case "sync_dir":
                for _, change in self._loose.pop(op.path, ()):
                    self._durable = _renamed(self._durable, change)
            case "create" if op.path in self._seen:
                self._seen[op.path].loose.append((self._number, Op("truncate", op.path, 0)))
            case "create":
                self._change({op.path: File()})
            case "mkdir":
                self._change({op.path: FOLDER})
            case "delete":
                self._change({op.path: None})
            case "rename":
                self._change({op.path: None, op.to: self._seen[op.path]})

    def survive(self, draw: random.Random) -> Image:
        """One of the many images a power cut may leave now."""
        fate, names = draw.choice(FATES), draw.choice(FATES[:4])
        until = draw.uniform(0, self._number) if "prefix" in (fate, names) else float("inf")
        kept = self._durable
        for changes in self._loose.values():
            for number, change in changes:
                if names != "none" and (names != "any" or draw.random() < 0.5):
                    kept = _renamed(kept, change) if names != "prefix" or number <= until else kept
        return {
            path: file.survive(fate, until if fate == "prefix" else float("inf"), draw)
            for path, file in kept.items()
            if file is not FOLDER and _reachable(path, kept)
        }

    def _change(self, change: dict[str, File | None]) -> None:
        self._seen = _renamed(self._seen, change)
        self._loose.setdefault(os.path.dirname(next(iter(change))), []).append((self._number, change))


def _renamed(names: dict[str, File], change: dict[str, File | None]) -> dict[str, File]:
    new = {path: file for path, file in names.items() if path not in change}
    return new | {path: file for path, file in change.items() if file is not None}


def _reachable(path: str, names: dict[str, File]) -> bool:
    folder = os.path.dirname(path)
    return folder == "" or (names.get(folder) is FOLDER and _reachable(folder, names))


def _written(old: bytes, ops: Iterable[Op]) -> bytes:
    data = bytearray(old)
    for op in ops:
        if op.kind == "truncate":
            del data[op.at :]
            continue
        if len(data) < op.at:
            data.extend(bytes(op.at - len(data)))
        data[op.at : op.at + len(op.data)] = op.data
    return bytes(data)


def _cut(op: Op, draw: random.Random) -> Op:
    return op._replace(data=op.data[: draw.randrange(len(op.data) + 1)]) if op.kind == "write" else op


def _torn(op: Op, draw: random.Random, garbage: bool) -> Iterator[Op]:
    """The sectors of a write that survive; of the others nothing, or noise."""
    if op.kind != "write":
        if draw.random() < 0.5:
            yield op
        return
    end, start = op.at + len(op.data), op.at
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if draw.random() < 0.5:
            yield Op("write", op.path, start, op.data[start - op.at : stop - op.at])
        elif garbage:
            yield Op("write", op.path, start, draw.randbytes(stop - start))
        start = stop
