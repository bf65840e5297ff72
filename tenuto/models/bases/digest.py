"""The digest of a base: sha256 over its configuration and its tensors as they lie in safetensors files.

The same tensors have the same digest in one file or in shards. What is left out of the configuration
(`UNSAID`) does not change what a model computes.
"""

from __future__ import annotations

import json
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

from tenuto.errors import ConfigError

UNSAID = {"_name_or_path", "transformers_version"}
LONGEST_HEADER = 100_000_000
"""Bytes; what the format allows."""


class Stored(NamedTuple):
    """A tensor in a file: its type and shape as the header says them, and where its bytes are."""

    file: mmap
    kind: str
    start: int
    end: int


def digest(folder: Path) -> str:
    """The digest, in hex, of the base in a folder.

    Raises:
        ConfigError: a file is missing, cut, or no safetensors file.
    """
    config = json.loads((folder / "config.json").read_text())
    hashed = sha256(b"tenuto base 1\n")
    hashed.update(_canonical({key: value for key, value in config.items() if key not in UNSAID}))
    tensors: dict[str, Stored] = {}
    for path in weights(folder):
        tensors |= _tensors(path)
    for name in sorted(tensors):
        file, kind, start, end = tensors[name]
        hashed.update(_canonical([name, kind]))
        hashed.update(memoryview(file)[start:end])
    return hashed.hexdigest()


def weights(folder: Path) -> list[Path]:
    """The weight files of a folder: one, or the shards that the index names.

    Raises:
        ConfigError: there are none, or one of the index's is not there.
    """
    index = folder / "model.safetensors.index.json"
    if (single := folder / "model.safetensors").is_file():
        return [single]
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        for name in names:
            if Path(name).name != name or not (folder / name).is_file():
                raise ConfigError(f"{index} names {name!r}, which is no file beside it")
        return [folder / name for name in names]
    if pickled := sorted(path.name for path in folder.glob("*.bin")):
        raise ConfigError(f"{folder} holds only pickled weights ({pickled[0]}); take a safetensors release")
    raise ConfigError(f"{folder} holds no weights: model.safetensors is missing")


def _tensors(path: Path) -> dict[str, Stored]:
    """The tensors of a safetensors file, by name."""
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        size = path.stat().st_size
        if not 2 <= length <= min(LONGEST_HEADER, size - 8):
            raise ConfigError(f"{path} is not a safetensors file, or is cut short")
        try:
            header: dict[str, Any] = json.loads(opened.read(length))
        except ValueError as error:
            raise ConfigError(f"{path} is not a safetensors file: {error}") from error
        file = mmap(opened.fileno(), 0, access=ACCESS_READ)
    found = {}
    for name, said in header.items():
        if name == "__metadata__":
            continue
        start, end = (8 + length + offset for offset in said["data_offsets"])
        if end > size:
            raise ConfigError(f"{path} is cut short: {name} ends at byte {end} of {size}")
        found[name] = Stored(file, _canonical([said["dtype"], said["shape"]]).decode(), start, end)
    return found


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
