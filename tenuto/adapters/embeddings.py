"""Embeddings as routers take them: rows of one width, finite."""

from __future__ import annotations

import torch
from torch import Tensor

from tenuto.errors import ConfigError


def checked(rows: Tensor, width: int | None, dtype: torch.dtype) -> Tensor:
    """Rows (n, d) on the host in this dtype.

    Args:
        width: d of earlier ones; None: there are none.

    Raises:
        ConfigError: they are not as long as earlier ones, or not finite.

    >>> checked(torch.ones(2, 3), 3, torch.float64).dtype
    torch.float64
    """
    found = rows.detach().to("cpu", dtype)
    if found.dim() != 2 or (width is not None and found.shape[1] != width):
        raise ConfigError(
            f"embeddings here are (n, {'d' if width is None else width}), not {tuple(found.shape)}"
        )
    if not bool(found.isfinite().all()):
        raise ConfigError("an embedding holds NaN or infinity: the base cannot read such a row")
    return found
