"""The journal's form of a row as plain data, without numpy: msgpack, an array of these fields in order."""

from __future__ import annotations

import msgspec


class Body(msgspec.Struct, array_like=True, tag=1, frozen=True, gc=False, forbid_unknown_fields=True):
    """One row as the journal keeps it. The tag is the number of this format."""

    dtype: str
    shape: tuple[int, ...]
    raw: bytes
    target: int | float | str | list[float] | None
    domain: str | None
    level: float | None
    weight: float
    derived_from: tuple[str, ...]


read = msgspec.msgpack.Decoder(Body).decode
"""The fields of a body; msgspec.DecodeError or UnicodeDecodeError where it is damaged."""
