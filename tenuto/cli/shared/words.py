"""Rows of a home's language model in the words they were written in, without torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import msgspec

from tenuto.cli.quarantine import content
from tenuto.store.home import Home
from tenuto.streams.body import read

PAD = 2**31 - 1
"""What fills a row behind its last token."""


def reader(home: Home) -> Callable[[bytes], str]:
    """Puts a row into words: what is asked, and after an arrow what is answered."""
    made = home.config
    if made["config"]["task"] != "language" or made.get("base") is None:
        return content
    model = made["model"]

    def put(body: bytes) -> str:
        decode = _decoder(model)
        try:
            row = read(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return content(body)
        if decode is None or row.dtype != "int32":
            return content(body)
        return spoken(list(memoryview(row.raw).cast("i")), decode)

    return put


def spoken(row: list[int], decode: Callable[[list[int]], str]) -> str:
    """A coded row in words.

    >>> spoken([5, 6, -8, PAD], lambda tokens: " ".join(map(str, tokens)))
    '5 6 -> 7'
    """
    tokens = [token for token in row if token != PAD]
    begun = next((n for n in range(len(tokens), 0, -1) if tokens[n - 1] >= 0), 0)
    parts = ([~t if t < 0 else t for t in part] for part in (tokens[:begun], tokens[begun:]))
    asked, answered = (" ".join(decode(part).split()) for part in parts)
    return f"{asked} -> {answered}" if asked else answered


@cache
def _decoder(model: str) -> Callable[[list[int]], str] | None:
    """How tokens of a base become text; None where its tokenizer is not at hand."""
    path = _tokenizer(model)
    if path is None:
        return None
    from tokenizers import Tokenizer

    decode: Callable[[list[int]], str] = Tokenizer.from_file(str(path)).decode
    return decode


def _tokenizer(model: str) -> Path | None:
    """Where a base's tokenizer lies: in its folder, in the cache of conversions, or in the hub's."""
    if (found := Path(model) / "tokenizer.json").is_file():
        return found
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenuto" / "bases"
    if made := sorted(cache.glob(f"{model.replace('/', '-')}-*-*/tokenizer.json")):
        return made[-1]
    if "/" not in model or find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    known = try_to_load_from_cache(model, "tokenizer.json")
    return Path(known) if isinstance(known, str) else None
