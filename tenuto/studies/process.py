"""What a learner's process sets once, at its start: one thread, memory that is kept, less to collect.

A small model's step allocates and frees the same buffers again and again; glibc gives them back to the
system and faults them in anew, and threads cost more than they bring. Measured: 2x, and up to 60x. The
hundred thousand objects that importing torch leaves behind are looked through at every full collection
unless they are set aside.
"""

from __future__ import annotations

import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 30


def settle(threads: int = 1) -> None:
    """Set torch's intra-op threads; let glibc keep up to 1 GiB of freed memory (elsewhere: nothing); set
    what was made so far aside from garbage collection."""
    import torch

    gc.collect()
    gc.freeze()

    torch.set_num_threads(threads)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_TRIM_THRESHOLD, _KEPT)
            libc.mallopt(_MMAP_THRESHOLD, _KEPT)
