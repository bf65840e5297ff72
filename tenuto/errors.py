"""Every error tenuto raises on purpose.

    TenutoError
    |-- ConfigError            an option is unknown, of the wrong type or out of range
    |-- ExampleError           a row cannot be learned: shape, type, NaN, label
    |   |-- MalformedRow       a row could not be parsed at all
    |   `-- DuplicateId        an id that was already taken by other content
    |-- StreamError            a source cannot be read: missing, empty, cut, unreadable
    |-- OutOfMemory            an update does not fit into memory, even row by row; the row is not at fault
    |-- NothingLearned         an answer was asked of a learner that has seen no row
    |-- StateError             saved state does not fit this learner
    `-- StoreError             the home cannot be used
        |-- HomeLocked         another process has it open
        |-- HomeTooNew         a newer release of tenuto wrote it
        |-- HomeMissing        there is no home at that path
        |-- CorruptHome        a hash or a digest does not match
        |-- OutOfSpace         the disk is full or refuses to write; the home is read-only
        `-- OutOfReach         the journal no longer keeps what was asked for

A message names the offending row, option, shape or value, and what to do about it.
"""

from __future__ import annotations


class TenutoError(Exception):
    """The root of every error tenuto raises on purpose."""


class ConfigError(TenutoError, ValueError):
    """An option is unknown, of the wrong type or out of range."""


class ExampleError(TenutoError, ValueError):
    """A row cannot be learned; nothing was changed by it."""


class MalformedRow(ExampleError):
    """A row of a stream could not be parsed; of one that lacks its input or its target, `row` is the rest."""

    def __init__(self, message: str, row: object = None) -> None:
        super().__init__(message)
        self.row = row


class DuplicateId(ExampleError):
    """An id came again with other content."""


class StreamError(TenutoError):
    """A source of examples cannot be read."""


class OutOfMemory(TenutoError):
    """An update needs more memory than there is, however few rows are read at once; nothing was changed."""


class NothingLearned(TenutoError):
    """The learner has seen no example, so it has nothing to answer with."""


class StateError(TenutoError, ValueError):
    """A saved state does not fit this learner."""


class StoreError(TenutoError):
    """The home directory cannot be used."""


class HomeLocked(StoreError):
    """Another process has this home open."""


class HomeTooNew(StoreError):
    """The home was written by a newer release."""


class HomeMissing(StoreError):
    """There is no home at that path."""


class CorruptHome(StoreError):
    """A stored hash or digest does not match its content."""


class OutOfSpace(StoreError):
    """The disk is full or refused a write; what was acknowledged is safe."""


class OutOfReach(StoreError):
    """The journal does not keep what was asked for."""
