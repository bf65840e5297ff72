"""Domain quota: no domain holds more than a share of memory, however much of the stream is from it.

What stays is a uniform sample of those of its rows that were offered since it reached the limit (see
`memory/keeping.py`); the room that is left is the others'.
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.memory.keeping import Cap


def rule(limit: Annotated[float, Limits(low=1e-6, high=1.0, usual=(0.05, 0.5), unit="rows / rows")]) -> Cap:
    """No domain holds more than `limit` of memory; rows without one are free."""
    return Cap("domain", share=limit)
