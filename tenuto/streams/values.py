"""What inputs and targets are once they are plain: numbers of a known dtype, labels, vectors.

Lists of whole numbers and of booleans become int64, other lists float32; arrays and tensors keep a
dtype of NAMES. The label True is the label 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenuto.errors import ExampleError

Target = int | float | str | list[float] | None

NAMES = {
    np.dtype(name): name
    for name in (
        *("bool", "uint8", "int8", "int16", "int32", "int64"),
        *("float16", "float32", "float64"),
    )
}
"""The dtypes an input may have; numpy and torch share the names."""

_WIDER = {np.dtype("uint16"): "int32", np.dtype("uint32"): "int64"}


def as_array(value: Any) -> np.ndarray:
    """An input as an ndarray of one of the dtypes of NAMES; a bare number becomes one feature.

    Raises:
        ExampleError: it is empty, ragged, or not of numbers.

    >>> as_array([1, 2]).dtype, as_array([1, 2.5]).dtype, as_array(7).shape
    (dtype('int64'), dtype('float32'), (1,))
    """
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
    elif hasattr(value, "detach"):
        array = _from_tensor(value)
    else:
        array = _from_list(value)
    if array.dtype not in NAMES:
        native = array.dtype.newbyteorder("=")
        if native not in NAMES and native not in _WIDER:
            raise ExampleError(
                f"input is {short(value)} of dtype {array.dtype}; give whole or decimal numbers of at most "
                "64 bits (text and categories have to be turned into numbers first)"
            )
        array = array.astype(_WIDER.get(native, native))
    if not array.size:
        raise ExampleError(f"input is empty, of shape {array.shape}; give at least one number")
    return array if array.shape else array.reshape(1)


def _from_list(value: Any) -> np.ndarray:
    try:
        array = np.array(value)
    except ValueError as error:
        raise ExampleError(
            f"input {short(value)} is ragged; give nested lists of equal lengths, at most 64 deep"
        ) from error
    if array.dtype == np.float64:
        with np.errstate(over="ignore"):
            return array.astype(np.float32)
    return array.astype(np.int64) if array.dtype == np.bool_ else array


def _from_tensor(value: Any) -> np.ndarray:
    tensor = value.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()
    try:
        return np.asarray(tensor.numpy())
    except TypeError as error:
        raise ExampleError(f"input is a tensor of dtype {tensor.dtype} that is not plain numbers") from error


def as_target(value: Any) -> Target:
    """A target in plain Python: an int or str label, a float, a list of floats, or None.

    Raises:
        ExampleError: it is none of these.

    >>> as_target(np.int64(3)), as_target(True), as_target(np.array([1, 2]))
    (3, 1, [1.0, 2.0])
    """
    if hasattr(value, "detach"):
        value = _from_tensor(value)
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    match value:
        case None:
            return None
        case str():
            return str(value)
        case bool() | int():
            return int(value)
        case float():
            return float(value) + 0.0
        case list() | tuple():
            numbers = [one.item() if isinstance(one, np.generic) else one for one in value]
            if numbers and all(isinstance(one, float) or _small(one) for one in numbers):
                return [float(one) + 0.0 for one in numbers]
    raise ExampleError(
        f"target {short(value)} is neither a label (a whole number or text) nor a number nor a flat "
        "vector of numbers; write it as one of these"
    )


def _small(value: object) -> bool:
    """Whether a value is a whole number that becomes a float without overflow."""
    return isinstance(value, int) and abs(value) < 1 << 1023


def short(value: object) -> str:
    """A value as an error message shows it, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
