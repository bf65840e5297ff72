"""Two domains of real text as rows of tokens: the prose of Python's own docstrings, requests of CLINC150."""

from __future__ import annotations

import ast
import gzip
import json
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import data
from tenuto import OnlineExample
from tenuto.models.language import answer, code

TOKENS = 64
"""Of a row; the first is asked, the others are answered."""


def docstrings() -> list[str]:
    """Every docstring of the standard library's modules that is prose, in the order of their names."""
    folder, found = Path(sysconfig.get_path("stdlib")), []
    for name in sorted(sys.stdlib_module_names):
        for path in (folder / f"{name}.py", folder / name / "__init__.py"):
            if path.exists():
                found += [text for text in _documented(ast.parse(path.read_bytes())) if _prose(text)]
    return found


def requests() -> list[str]:
    """CLINC150's sentences for learning, those of an intent one after another."""
    with gzip.open(data("clinc150") / "data_full.json.gz") as file:
        parts = json.load(file)
    return [text for text, _ in parts["train"]]


DOMAINS: dict[str, Callable[[], list[str]]] = {"docstrings": docstrings, "requests": requests}


@cache
def rows(domain: str, tokenizer: Any) -> list[OnlineExample]:
    """A domain as rows that follow one another: texts, each ended by two line breaks, cut every 64 tokens."""
    ids: list[int] = []
    for text in DOMAINS[domain]():
        ids += tokenizer(text + "\n\n", add_special_tokens=False).input_ids
    return [_row(ids[at : at + TOKENS]) for at in range(0, len(ids) - TOKENS + 1, TOKENS)]


def dealt(domain: str, tokenizer: Any, seed: int, *counts: int) -> list[list[OnlineExample]]:
    """So many rows for each purpose, none for two."""
    every = rows(domain, tokenizer)
    order = np.random.default_rng(seed).permutation(len(every))
    ends = np.cumsum(counts)
    return [[every[n] for n in order[end - count : end]] for end, count in zip(ends, counts, strict=True)]


def _row(ids: list[int]) -> OnlineExample:
    coded = code([(ids[:1], False), (ids[1:], True)], TOKENS)
    return OnlineExample(input=coded, target=answer(coded, TOKENS - 1))


def _documented(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
            text := ast.get_docstring(node)
        ):
            yield text


def _prose(text: str) -> bool:
    """Is it long, and nothing but sentences: no code, no table?"""
    return len(text) > 200 and ">>>" not in text and not re.search(r"\n {2,}|[|_=]{2,}", text)
