"""What every test stands on: one thread, and hypothesis without a clock or a database."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("tenuto", deadline=None, derandomize=True, database=None)
settings.load_profile("tenuto")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked long run where TENUTO_LONG is set, and are not collected elsewhere."""
    if not os.environ.get("TENUTO_LONG"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
