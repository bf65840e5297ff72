"""Permuted, rotated and split MNIST, from IDX files.

A context is a choice of rows and a map of pixels: pixel p of its rows is pixel pixels[p] of MNIST's, and
BLACK is a pixel outside of the image. One copy of MNIST is held, as bytes, whatever the number of contexts;
maps and orders are keyed by the seed, so that a context does not depend on which were made before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tenuto.errors import ConfigError, StreamError
from tenuto.randomness import permutation, uniform
from tenuto.streams import idx

SIDE = 28
PIXELS = BLACK = SIDE * SIDE
CLASSES = 10

Rows = tuple[Tensor, Tensor]
"""Inputs (n, 784) uint8 and targets (n,) int64."""


@dataclass(frozen=True, slots=True)
class Digits:
    """The rows to learn and the rows to test on; inputs (n, 785) uint8, whose last pixel is black."""

    train: Rows
    test: Rows

    @classmethod
    def load(cls, folder: Path) -> Digits:
        """MNIST's four IDX files, gzipped or not.

        Raises:
            StreamError: one is missing, cut, or not of 28 x 28 pixels.
        """
        return cls(_read(folder, "train"), _read(folder, "t10k"))

    def held_out(self, seed: int, share: float = 0.1) -> Digits:
        """The training rows alone, a share of them set apart to choose settings on; no test row is left."""
        inputs, targets = self.train
        order = torch.from_numpy(permutation(seed, "held out", len(targets)))
        apart, kept = order[: (cut := round(share * len(order)))], order[cut:]
        return Digits((inputs[kept], targets[kept]), (inputs[apart], targets[apart]))


@dataclass(frozen=True, slots=True)
class Context:
    """One context: its pixels (784,), and the numbers of the rows to learn and to test on."""

    pixels: Tensor
    train: Tensor
    test: Tensor


class Contexts:
    """The contexts of a protocol under a seed.

    Args:
        digits: MNIST.
        kind: one of KINDS.
        count: how many contexts.
        seed: key of the maps and of every order of rows.
    """

    def __init__(self, digits: Digits, kind: str, count: int, seed: int) -> None:
        if kind not in KINDS:
            raise ConfigError(f"there is no stream {kind!r}; known are {', '.join(KINDS)}")
        self._digits = digits
        self._seed = seed
        self.contexts = KINDS[kind](digits, count, seed)

    def __len__(self) -> int:
        return len(self.contexts)

    @property
    def rows(self) -> int:
        """How many rows one pass over every context holds."""
        return sum(len(context.train) for context in self.contexts)

    def batches(self, number: int, size: int, epoch: int = 0) -> Iterator[Rows]:
        """The rows of a context in the order of an epoch."""
        context = self.contexts[number]
        order = permutation(self._seed, f"order {number}:{epoch}", len(context.train))
        for rows in _pieces(context.train[torch.from_numpy(order)], size):
            yield _take(self._digits.train, rows, context.pixels)

    def mixed(self, size: int, epoch: int = 0) -> Iterator[Rows]:
        """The rows of every context, all mixed: what joint training sees."""
        inputs, targets = self._digits.train
        rows = torch.cat([context.train for context in self.contexts])
        of = torch.cat([torch.full_like(c.train, number) for number, c in enumerate(self.contexts)])
        maps = torch.stack([context.pixels for context in self.contexts])
        order = torch.from_numpy(permutation(self._seed, f"mixed {epoch}", len(rows)))
        for chosen in _pieces(order, size):
            which = rows[chosen]
            yield inputs.index_select(0, which).gather(1, maps[of[chosen]]), targets[which]

    def tests(self, number: int, size: int = 2000) -> Iterator[Rows]:
        """The rows that a context is tested on."""
        context = self.contexts[number]
        for rows in _pieces(context.test, size):
            yield _take(self._digits.test, rows, context.pixels)


def digest(folder: Path) -> str:
    """What tells one folder of IDX files from another: 16 hexadecimal digits over their labels."""
    labels = [idx.read(_found(folder, f"{part}-labels-idx1-ubyte")).tobytes() for part in ("train", "t10k")]
    return hashlib.sha256(b"".join(labels)).hexdigest()[:16]


def permuted(digits: Digits, count: int, seed: int) -> list[Context]:
    """Each context is all rows under a permutation of the pixels of its own."""
    maps = [torch.from_numpy(permutation(seed, f"pixels {number}", PIXELS)) for number in range(count)]
    return _whole(digits, maps)


def rotated(digits: Digits, count: int, seed: int) -> list[Context]:
    """Each context is all rows turned by an angle of its own, uniform in [0, 180) degrees."""
    angles = 180 * uniform(seed, "degrees", np.arange(count, dtype=np.uint64))
    return _whole(digits, [turn(angle) for angle in angles.tolist()])


def split(digits: Digits, count: int, seed: int) -> list[Context]:
    """Each context is the rows of 10 / count classes, in order; nothing is drawn.

    Raises:
        ConfigError: the ten classes do not part evenly.
    """
    if count < 1 or CLASSES % count:
        raise ConfigError(f"ten classes cannot be split into {count} contexts; 1, 2, 5 or 10 are possible")
    each, same = CLASSES // count, torch.arange(PIXELS)
    parts = [(number * each, (number + 1) * each) for number in range(count)]
    return [Context(same, _of(digits.train, *part), _of(digits.test, *part)) for part in parts]


KINDS: dict[str, Callable[[Digits, int, int], list[Context]]] = {
    "permuted": permuted,
    "rotated": rotated,
    "split": split,
}


def turn(degrees: float) -> Tensor:
    """The pixels (784,) of an image turned counter-clockwise about its centre, each the nearest one.

    What comes from outside of the image is BLACK.

    >>> torch.equal(turn(90.0), torch.arange(784).view(28, 28).rot90().flatten())
    True
    """
    return turns(torch.tensor([degrees], dtype=torch.float64))[0]


def turns(degrees: Tensor) -> Tensor:
    """The pixels (n, 784) of n angles."""
    at = torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2
    y, x = at[:, None], at[None, :]
    angle = degrees.double().deg2rad()[:, None, None]
    across, down = _near(x * angle.cos() - y * angle.sin()), _near(x * angle.sin() + y * angle.cos())
    inside = (across >= 0) & (across < SIDE) & (down >= 0) & (down < SIDE)
    return torch.where(inside, down * SIDE + across, BLACK).flatten(1)


def _near(offset: Tensor) -> Tensor:
    """The pixel whose centre is nearest to an offset from the middle."""
    return (offset + SIDE / 2).floor().long()


def _whole(digits: Digits, maps: Sequence[Tensor]) -> list[Context]:
    train, test = torch.arange(len(digits.train[1])), torch.arange(len(digits.test[1]))
    return [Context(pixels, train, test) for pixels in maps]


def _of(rows: Rows, low: int, high: int) -> Tensor:
    """The numbers of the rows whose class is in [low, high)."""
    return ((rows[1] >= low) & (rows[1] < high)).nonzero().flatten()


def _pieces(rows: Tensor, size: int) -> Iterator[Tensor]:
    """`size` of them at a time; the last piece may be smaller."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _take(source: Rows, rows: Tensor, pixels: Tensor) -> Rows:
    inputs, targets = source
    return inputs.index_select(0, rows).index_select(1, pixels), targets.index_select(0, rows)


def _read(folder: Path, part: str) -> Rows:
    """Inputs (n, 785) with a black pixel behind them, and targets (n,)."""
    names = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    images, labels = (torch.from_numpy(idx.read(_found(folder, name))) for name in names)
    if images.shape[1:] != (SIDE, SIDE) or labels.shape != images.shape[:1]:
        raise StreamError(
            f"{folder} holds images {tuple(images.shape)} and labels {tuple(labels.shape)}; "
            f"put MNIST's IDX files there, of {SIDE} x {SIDE} pixels and as many labels"
        )
    return F.pad(images.flatten(1), (0, 1)), labels.long()


def _found(folder: Path, name: str) -> Path:
    """The file of that name, gzipped or not."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise StreamError(f"{folder} holds no {name}[.gz]; name the folder of MNIST's four IDX files")
