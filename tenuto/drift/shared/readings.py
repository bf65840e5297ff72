"""Values as detectors read them: finite numbers, and vectors of them.

Whatever cannot be watched is refused before anything changes. A value's square must be finite, and sums of
squares too: hence the largest magnitude.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenuto.errors import ExampleError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 1e100


def number(value: float | Tensor, *, low: float = -LARGEST, high: float = LARGEST) -> float:
    """One finite number. Raises ExampleError.

    >>> number(float("nan"))
    Traceback (most recent call last):
        ...
    tenuto.errors.ExampleError: a drift detector was given nan; it takes a number from -1e+100 to 1e+100
    """
    if type(value) is float:
        found = value
    else:
        read = vector(value)
        if read.size != 1:
            raise ExampleError(
                f"a drift detector was given {read.size} numbers; this one takes one at a time"
            )
        found = float(read[0])
    if not low <= found <= high:
        raise ExampleError(_wanted(found, low, high))
    return found


def vector(value: float | Tensor | NDArray[Any]) -> NDArray[np.float64]:
    """A number or a vector (d,) as an array (d,) of its own, finite or not. Raises ExampleError.

    >>> vector(2).tolist()
    [2.0]
    """
    plain = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    if isinstance(plain, str | bytes):
        raise ExampleError(f"a drift detector was given {plain!r}; it takes numbers")
    try:
        found = np.array(plain, dtype=np.float64, ndmin=1)
    except (TypeError, ValueError) as error:
        raise ExampleError(f"a drift detector was given {type(value).__name__}; it takes numbers") from error
    if found.ndim != 1 or not found.size:
        raise ExampleError(f"a drift detector was given the shape {found.shape}; it takes a number or (d,)")
    return found


def finite(value: float | Tensor | NDArray[Any]) -> NDArray[np.float64]:
    """A vector (d,) of finite numbers. Raises ExampleError naming the first that is not."""
    found = vector(value)
    strange = np.flatnonzero(~(np.abs(found) <= LARGEST))
    if strange.size:
        place = int(strange[0])
        raise ExampleError(f"number {place}: {_wanted(float(found[place]), -LARGEST, LARGEST)}")
    return found


def _wanted(found: float, low: float, high: float) -> str:
    return f"a drift detector was given {found!r}; it takes a number from {low:g} to {high:g}"
