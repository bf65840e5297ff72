"""What every benchmark does first: one thread, an allocator that keeps its memory, the data's folder."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from tenuto.errors import ConfigError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def settle() -> None:
    """One intra-op thread; glibc keeps freed buffers instead of giving them back at every step."""
    import torch

    torch.set_num_threads(1)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
            libc.mallopt(_MMAP_THRESHOLD, 1 << 30)


def data(name: str) -> Path:
    """A folder of the shared data: under TENUTO_DATA, else ../shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TENUTO_DATA", beside)) / name
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not there; point TENUTO_DATA at the folder that holds {name}/")
    return folder
