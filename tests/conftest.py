"""What every test stands on: one thread, and hypothesis without a clock or a database."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("tenuto", deadline=None, derandomize=True, database=None)
settings.load_profile("tenuto")
