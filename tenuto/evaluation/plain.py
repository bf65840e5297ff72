"""A report to and from plain data that JSON can hold: `from_plain(to_plain(report)) == report`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tenuto.errors import ConfigError
from tenuto.evaluation.matrix import AccuracyMatrix
from tenuto.evaluation.report import Curve, Listing, Proof, Report, Run


def to_plain(report: Report) -> dict[str, Any]:
    """Dicts, lists, strings, numbers and None, each dataclass as a dict of its fields.

    >>> to_plain(Report(title="t", joint=(0.9,)))["joint"]
    [0.9]
    """
    return {name: _dump(getattr(report, name)) for name in _names(Report)}


def from_plain(plain: Mapping[str, Any]) -> Report:
    """The report that `to_plain` wrote; ConfigError names a key that is missing or unknown.

    >>> from_plain(to_plain(Report(title="t"))).title
    't'
    """
    made = _taken(plain, Report)
    made["runs"] = tuple(_run(run) for run in made["runs"])
    made["proofs"] = tuple(Proof(**_taken(proof, Proof)) for proof in made["proofs"])
    made["listings"] = tuple(Listing(**_taken(listing, Listing)) for listing in made["listings"])
    return Report(**made)


def _run(plain: Mapping[str, Any]) -> Run:
    made = _taken(plain, Run)
    if made["matrix"] is not None:
        made["matrix"] = AccuracyMatrix.from_plain(made["matrix"])
    made["curves"] = {title: _curve(curve) for title, curve in made["curves"].items()}
    return Run(**made)


def _curve(plain: Mapping[str, Any]) -> Curve:
    """One written before curves had marks has none."""
    return Curve(**_taken({"marks": [], **plain} if isinstance(plain, Mapping) else plain, Curve))


def _dump(value: Any) -> Any:
    if isinstance(value, AccuracyMatrix):
        return value.to_plain()
    if isinstance(value, Mapping):
        return {name: _dump(held) for name, held in value.items()}
    if isinstance(value, tuple):
        return [_dump(held) for held in value]
    if isinstance(value, Curve | Listing | Run | Proof):
        return {name: _dump(getattr(value, name)) for name in _names(type(value))}
    return value


def _names(kind: type[Curve | Listing | Run | Proof | Report]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


def _taken(plain: Mapping[str, Any], kind: type[Curve | Listing | Run | Proof | Report]) -> dict[str, Any]:
    if not isinstance(plain, Mapping):
        raise ConfigError(f"a {kind.__name__} is written as an object of its fields, not as {plain!r}")
    wrong = set(plain) ^ set(_names(kind))
    if wrong:
        raise ConfigError(f"a {kind.__name__} has exactly the keys {_names(kind)}; wrong: {sorted(wrong)}")
    return dict(plain)
