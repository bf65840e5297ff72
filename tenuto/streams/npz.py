"""NumPy archives: inputs (or x, X) and targets (or y, labels), with ids and domains where given."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from tenuto.errors import StreamError
from tenuto.streams.arrays import Arrays
from tenuto.streams.source import Fields, unreadable

INPUTS = ("inputs", "x", "X")
TARGETS = ("targets", "y", "labels")


def load(path: Path, fields: Fields) -> Arrays:
    """The arrays of an archive.

    Raises:
        StreamError: the file is no archive, is cut, lacks an array, or holds Python objects.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise StreamError(f"{path} is a single array; save inputs and targets with numpy.savez")
            return _arrays(path, archive, fields)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, MemoryError) as error:
        raise StreamError(
            f"{path} cannot be read as an archive of numbers ({error}); write it again with numpy.savez, "
            "with arrays of numbers and of text rather than of Python objects"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def _arrays(path: Path, archive: np.lib.npyio.NpzFile, fields: Fields) -> Arrays:
    def need(wanted: tuple[str, ...]) -> np.ndarray:
        for name in wanted:
            if name in archive:
                return np.asarray(archive[name])
        raise StreamError(
            f"{path} has no array {' or '.join(wanted)}; its arrays are {', '.join(archive)}: "
            "name another with --input and --target"
        )

    def find(option: str | None, default: tuple[str, ...], needed: bool = False) -> np.ndarray | None:
        if option is not None:
            return need((option,))
        return need(default) if needed or any(name in archive for name in default) else None

    inputs = need((fields.input,) if fields.input else INPUTS)
    targets = find(fields.target, TARGETS, needed=fields.labelled)
    ids, domains = find(fields.id, ("ids",)), find(fields.domain, ("domains",))
    for name, array in (("inputs", inputs), ("targets", targets), ("ids", ids), ("domains", domains)):
        if array is not None and (not array.ndim or len(array) != len(inputs)):
            raise StreamError(
                f"{path} has inputs of shape {inputs.shape} and {name} of shape {array.shape}; "
                "each array has one row per example"
            )
    return Arrays(
        inputs=inputs if inputs.ndim > 1 else inputs.reshape(-1, 1),
        targets=targets if targets is None or targets.ndim > 1 else targets.tolist(),
        ids=_texts(ids),
        domains=_texts(domains),
    )


def _texts(array: np.ndarray | None) -> list[str] | None:
    return None if array is None else [str(one) for one in array.tolist()]
