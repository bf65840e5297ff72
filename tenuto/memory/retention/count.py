"""Count: no more than N rows of one group, a class where targets are classes.

What stays is a uniform sample of those of its rows that were offered since it reached the limit (see
`memory/keeping.py`); the room that is left is the others'.
"""

from __future__ import annotations

from typing import Annotated

from tenuto.config import Limits
from tenuto.memory.keeping import Cap


def rule(limit: Annotated[int, Limits(low=1, usual=(5, 500), unit="rows")]) -> Cap:
    """At most `limit` rows of one group stay."""
    return Cap("group", rows=limit)
