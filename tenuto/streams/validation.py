"""Which rows can be learned: one shape, finite numbers, one kind of target.

The schema is that of the first row; whatever does not fit it is refused before any forward pass, and
nothing is changed by it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np

from tenuto.errors import ConfigError, ExampleError, StateError
from tenuto.streams.values import NAMES, Target, as_array, as_target, short
from tenuto.types import OnlineExample

Task = Literal["classification", "regression", "language"]
Kind = Literal["number", "int"]
TargetKind = Literal["int label", "str label", "number", "vector"]

LONGEST = 512
"""Characters that an id, a domain, a source, a principal or a text label may have."""

_HUGE = float(np.finfo(np.float32).max)
_SAFE = 1e38
"""A sum of squares below this holds no NaN, no infinity and nothing beyond float32."""

_WORDS = {int: "a whole number", str: "text", float: "a decimal number", list: "a vector"}
_PLAIN = {"int label": int, "str label": str, "number": float}
_KINDS: dict[str, dict[type, TargetKind]] = {
    "classification": {int: "int label", str: "str label"},
    "regression": {int: "number", float: "number", list: "vector"},
    "language": {list: "vector"},
}
_REMEDIES = {
    "classification": "labels are whole numbers or text: write one, or set the task to regression",
    "regression": "targets are numbers or vectors: write one, or set the task to classification",
    "language": "a target is the row of an answer's tokens; open the stream with the model's tokenizer",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """What a row must be.

    Args:
        task: "classification", "regression" or "language".
        shape: the shape of the input.
        kind: "number" takes whole and decimal numbers, "int" whole ones only (token ids).
        target: "int label", "str label", "number" or "vector".
        width: the length of a vector; else None.

    >>> schema = Schema.of(OnlineExample(input=[0.5, 1.0], target=3))
    >>> schema.shape, schema.target
    ((2,), 'int label')
    >>> schema.check(OnlineExample(input=[0.5], target=3, id="a7"))
    Traceback (most recent call last):
    tenuto.errors.ExampleError: row 'a7': input has shape (1,) instead of (2,); send rows of one shape
    """

    task: Task
    shape: tuple[int, ...]
    kind: Kind = "number"
    target: TargetKind
    width: int | None = None

    @classmethod
    def of(
        cls,
        example: OnlineExample,
        task: str = "classification",
        kind: Kind = "number",
        *,
        name: str | None = None,
    ) -> Schema:
        """The schema of rows like `example`.

        Args:
            name: what to call the row in an error; None: by its id.

        Raises:
            ExampleError: the example itself cannot be learned.
            ConfigError: the task or the kind is unknown.
        """
        if task not in _KINDS or kind not in ("number", "int"):
            raise ConfigError(
                f"task {task!r} with kind {kind!r} is unknown; "
                f"tasks are {', '.join(_KINDS)}, kinds number and int"
            )
        known = cast(Task, task)
        try:
            shape = as_array(example.input).shape
            target = as_target(example.target)
            width = len(target) if isinstance(target, list) else None
            schema = cls(task=known, shape=shape, kind=kind, target=_kind(target, known), width=width)
        except ExampleError as error:
            raise _refused(name or example.id, error) from error
        schema.check(example, name=name)
        return schema

    def check(self, example: OnlineExample, *, name: str | None = None) -> None:
        """Returns where the example can be learned.

        Args:
            name: what to call the row in an error; None: by its id.

        Raises:
            ExampleError: it cannot; the message names the value at fault and the remedy.
        """
        try:
            self._check_input(example.input)
            self._check_target(example.target)
            _check_rest(example)
        except ExampleError as error:
            raise _refused(name or example.id, error) from error

    def _check_input(self, input: Any) -> None:
        if type(input) is not np.ndarray or input.shape != self.shape or input.dtype not in NAMES:
            input = as_array(input)
            if input.shape != self.shape:
                raise ExampleError(
                    f"input has shape {input.shape} instead of {self.shape}; send rows of one shape"
                )
        if input.dtype.kind != "f":
            return
        if not np.vdot(input, input).item() < _SAFE:
            _check_finite(input)
        if self.kind == "int":
            raise ExampleError(
                f"input has dtype {input.dtype}; send whole numbers, as the model looks them up"
            )

    def _check_target(self, target: Any) -> None:
        kind = self.target
        if type(target) is not _PLAIN.get(kind):
            target = as_target(target)
            if _kind(target, self.task) != kind:
                raise ExampleError(
                    f"target {short(target)} is {_WORDS[type(target)]} where the rows before it have "
                    f"targets of the kind {kind!r}; use one kind"
                )
        if kind == "int label":
            if not -(1 << 63) <= target < 1 << 63:
                raise ExampleError(f"label {target} does not fit 64 bits; use a smaller number, or text")
        elif kind == "str label":
            _check_text("label", target)
        elif kind == "number":
            _check_number("target", target)
        else:
            for number in target:
                _check_number("target", number)
            if len(target) != self.width:
                raise ExampleError(
                    f"target has {len(target)} numbers instead of {self.width}; send vectors of one length"
                )

    def to_plain(self) -> dict[str, Any]:
        """The schema as JSON can hold it."""
        return asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Schema:
        """The schema that `to_plain` gave.

        Raises:
            StateError: it is none.

        >>> schema = Schema.of(OnlineExample(input=[1, 2], target="cat"))
        >>> Schema.from_plain(schema.to_plain()) == schema
        True
        """
        match plain:
            case {
                "task": "classification" | "regression" | "language" as task,
                "shape": [*shape],
                "kind": "number" | "int" as kind,
                "target": "int label" | "str label" | "number" | "vector" as target,
                "width": int() | None as width,
            } if all(isinstance(size, int) and size > 0 for size in shape):
                return cls(task=task, shape=tuple(shape), kind=kind, target=target, width=width)
        raise StateError(f"{short(plain)} is no schema of rows; restore the state from a snapshot")


def _kind(target: Target, task: Task) -> TargetKind:
    if target is None:
        raise ExampleError("target is missing; send it, or the row again, under the same id once it is known")
    kind = _KINDS[task].get(type(target))
    if kind is None:
        raise ExampleError(f"target {short(target)} is {_WORDS[type(target)]}; {_REMEDIES[task]}")
    return kind


def _check_rest(example: OnlineExample) -> None:
    weight, level = example.weight, example.level
    if type(weight) is not float or not 0.0 < weight <= _HUGE:
        _check_number("weight", weight)
        if not weight > 0:
            raise ExampleError(f"weight is {weight}; send a number above 0, or leave the row out")
    if level is not None:
        _check_number("level", level)
    if example.id is not None:
        _check_text("id", example.id)
    if example.domain is not None:
        _check_text("domain", example.domain)
    if example.source is not None:
        _check_text("source", example.source)
    if example.principal is not None:
        _check_text("principal", example.principal)
    if type(example.derived_from) is not tuple:
        raise ExampleError(f"derived_from is {short(example.derived_from)}; send a tuple of ids")
    for id in example.derived_from:
        _check_text("derived_from", id)


def _check_finite(input: np.ndarray) -> None:
    with np.errstate(over="ignore"):
        fits = np.isfinite(input.astype(np.float32))
    if not fits.all():
        place = tuple(int(index) for index in np.argwhere(~fits)[0])
        raise ExampleError(
            f"input{list(place)} is {input[place]}, which is not finite in float32; "
            "impute or rescale it, or leave the row out"
        )


def _check_number(field: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ExampleError(f"{field} is {short(value)}; send a number")
    if not -_HUGE <= value <= _HUGE:
        raise ExampleError(f"{field} is {short(value)}, which is not finite in float32; send a finite number")


def _check_text(field: str, text: Any) -> None:
    if not isinstance(text, str):
        raise ExampleError(f"{field} is {short(text)}; send text")
    if not 0 < len(text) <= LONGEST:
        raise ExampleError(f"{field} has {len(text)} characters; send 1 to {LONGEST}")
    if not text.isprintable() and any(unicodedata.category(one) in ("Cc", "Cs") for one in text):
        raise ExampleError(
            f"{field} {short(text)} holds control characters or half a character; take them out"
        )


def _refused(name: str | None, fault: ExampleError) -> ExampleError:
    row = "the row" if name is None else f"row {short(name)}"
    return ExampleError(f"{row}: {fault}")
