"""Moves: where the rows of a memory lay before others left it, for whoever knows rows by their slot."""

from __future__ import annotations

from collections.abc import Iterable

from tenuto.errors import ConfigError


class Moves:
    """The slots of rows, as they were when this was last asked.

    >>> moves = Moves()
    >>> moves.left([0, 3, 2]); moves.put([3]); moves.told()
    [0, 3, 2, -1]
    """

    def __init__(self) -> None:
        self._whence: list[int] | None = None

    def left(self, stay: list[int]) -> None:
        """The row in slot i lay in stay[i], and the others are gone."""
        self._whence = stay if self._whence is None else [self._whence[slot] for slot in stay]

    def put(self, slots: list[int]) -> None:
        """These slots hold new rows."""
        if self._whence is None:
            return
        for slot in slots:
            self._whence += [-1] * (slot + 1 - len(self._whence))
            self._whence[slot] = -1

    def told(self) -> list[int] | None:
        """Where each row lay when this was last asked, -1 for a row that is new; None where none left."""
        whence, self._whence = self._whence, None
        return None if whence is None else list(whence)


def compacted(gone: Iterable[int], count: int) -> list[int]:
    """Which of `count` slots each row that is left lay in: the last rows move into the emptied slots.

    Raises:
        ConfigError: a slot holds no row.

    >>> compacted([1, 4], 6)
    [0, 5, 2, 3]
    """
    empty = set(gone)
    if strange := [slot for slot in empty if not 0 <= slot < count]:
        raise ConfigError(f"memory holds {count} rows, and none in slot {min(strange)}")
    stay = list(range(count - len(empty)))
    rest = [slot for slot in range(len(stay), count) if slot not in empty]
    for slot in sorted(slot for slot in empty if slot < len(stay)):
        stay[slot] = rest.pop()
    return stay
