"""MNIST-360 (Buzzega et al. 2020): two digits at a time, always turning, and nobody tells which or when.

Nine digits, 0 to 8, in pairs (0, 1), (1, 2), ... (8, 0), three times around, so that each digit is in six of
the 27 pairs; its n training rows lie in six parts, one for each. Row k of digit j, counted in the order of
its coming, is turned by 60 (j - 1) + 360 k / n degrees: once around, over three rounds. A batch mixes the two
digits as what is left of their parts is mixed; where one part runs out, the next pair comes, and what is left
of the other (a row, where any) is not shown. No row is shown twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tenuto.randomness import permutation
from tenuto.studies.papers.streams import CLASSES, Digits, Rows, turns
from tenuto.studies.streams.moving import Moving

DIGITS, ROUNDS = 9, 3
PARTS = 2 * ROUNDS
BATCH = 16
_FIRST, _EACH = -60.0, 60.0
_CHUNK = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A batch: which digits, and which of their rows.

    Args:
        pair: the number of the pair in the stream, from 0.
        rows: by digit, from which of its rows to which (the last is not of them).
    """

    pair: int
    rows: tuple[tuple[int, range], tuple[int, range]]

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.rows)


def pairs() -> list[tuple[int, int]]:
    """The pairs of digits, in their order.

    >>> pairs()[:3], pairs()[8], len(pairs())
    ([(0, 1), (1, 2), (2, 3)], (8, 0), 27)
    """
    return [(digit, (digit + 1) % DIGITS) for _ in range(ROUNDS) for digit in range(DIGITS)]


def schedule(counts: Sequence[int], size: int = BATCH) -> Iterator[Piece]:
    """The batches of the stream, whatever their rows hold.

    Args:
        counts: how many rows each of the nine digits has.
        size: rows of a batch.

    >>> [[(digit, len(rows)) for digit, rows in piece.rows] for piece in schedule([60] * 9, 8)][:4]
    [[(0, 4), (1, 4)], [(0, 4), (1, 4)], [(0, 2), (1, 2)], [(1, 4), (2, 4)]]
    """
    taken = [0] * DIGITS
    for number, pair in enumerate(pairs()):
        parts = [_part(counts[digit], taken[digit]) for digit in pair]
        for digit in pair:
            taken[digit] += 1
        while all(parts):
            left = [len(part) for part in parts]
            one = min(round(size * left[0] / sum(left)), left[0])
            other = min(size - one, left[1])
            shown = [part[:n] for part, n in zip(parts, (one, other), strict=True)]
            parts = [part[n:] for part, n in zip(parts, (one, other), strict=True)]
            yield Piece(pair=number, rows=((pair[0], shown[0]), (pair[1], shown[1])))


def angles(digit: int, count: int) -> Tensor:
    """How far each of a digit's `count` training rows is turned, in degrees (count,).

    >>> angles(1, 4).tolist(), angles(0, 2).tolist()
    ([0.0, 90.0, 180.0, 270.0], [-60.0, 120.0])
    """
    return _FIRST + _EACH * digit + 360.0 * torch.arange(count, dtype=torch.float64) / count


class Ring:
    """MNIST-360 under a seed: every row turned, ready to be cut into batches of any size.

    Args:
        digits: MNIST.
        seed: key of the order of each digit's rows.
    """

    def __init__(self, digits: Digits, seed: int) -> None:
        self._rows: list[Tensor] = []
        tests: list[Rows] = []
        for digit in range(DIGITS):
            mine = (digits.train[1] == digit).nonzero().flatten()
            order = mine[torch.from_numpy(permutation(seed, f"mnist-360 {digit}", len(mine)))]
            self._rows.append(_turned(digits.train[0][order], angles(digit, len(order))))
            asked = digits.test[0][digits.test[1] == digit]
            at = 360.0 * torch.arange(len(asked), dtype=torch.float64) / max(1, len(asked))
            tests.append((_turned(asked, at), torch.full((len(asked),), digit)))
        self._seed = seed
        self._test = torch.cat([inputs for inputs, _ in tests]), torch.cat([labels for _, labels in tests])

    @property
    def counts(self) -> list[int]:
        """How many rows each digit has."""
        return [len(rows) for rows in self._rows]

    def stream(self, size: int = BATCH) -> Moving:
        """The stream in batches of a size; the test rows of each digit are spread over a turn."""
        batches, changes, seen, pair = [], [], 0, 0
        for piece in schedule(self.counts, size):
            if piece.pair != pair:
                changes.append(seen)
                pair = piece.pair
            batches.append(self._batch(piece))
            seen += len(piece)
        return Moving(batches=batches, classes=CLASSES, changes=tuple(changes), test=self._test)

    def mixed(self, size: int = BATCH) -> Moving:
        """The rows of the stream, all mixed: what joint training sees."""
        whole = [self._batch(piece) for piece in schedule(self.counts)]
        inputs, targets = torch.cat([i for i, _ in whole]), torch.cat([t for _, t in whole])
        order = torch.from_numpy(permutation(self._seed, "mnist-360 mixed", len(targets)))
        pieces = (order[start : start + size] for start in range(0, len(order), size))
        batches = [(inputs[rows], targets[rows]) for rows in pieces]
        return Moving(batches=batches, classes=CLASSES, test=self._test)

    def _batch(self, piece: Piece) -> Rows:
        inputs = [self._rows[digit][rows.start : rows.stop] for digit, rows in piece.rows]
        targets = [torch.full((len(rows),), digit) for digit, rows in piece.rows]
        return torch.cat(inputs), torch.cat(targets)


def _part(count: int, number: int) -> range:
    """The rows of one of six parts, as even as they can be."""
    return range(number * count // PARTS, (number + 1) * count // PARTS)


def _turned(inputs: Tensor, degrees: Tensor) -> Tensor:
    """Images (n, 785) turned, each by an angle of its own: (n, 784)."""
    pieces = [slice(start, start + _CHUNK) for start in range(0, len(degrees), _CHUNK)]
    turned = [inputs[piece].gather(1, turns(degrees[piece])) for piece in pieces]
    return torch.cat(turned) if turned else inputs[:, :-1]
