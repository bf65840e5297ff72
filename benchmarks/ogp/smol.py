"""SmolLM2-135M in float32, with the tiny Llama's facts; `benchmarks.ogp.tiny` is read alike."""

from __future__ import annotations

from functools import cache
from typing import Any

from benchmarks.ogp.tiny import LENGTH, ROOM
from tenuto import OnlineExample
from tenuto.adapters.lora import adapt
from tenuto.models.bases import load
from tenuto.models.language import LanguageModel, answer, code


@cache
def _tokenizer() -> Any:
    return load("smollm2").tokenizer


def model(targets: tuple[str, ...], seed: int) -> LanguageModel:
    """A fresh one with an adapter of rank 8."""
    return LanguageModel(adapt(load("smollm2").model, targets=targets, seed=seed))


def row(prompt: str, said: str) -> OnlineExample:
    """A fact as an example."""
    asked, told = (_tokenizer()(text, add_special_tokens=False).input_ids for text in (prompt, said))
    coded = code([(asked, False), (told, True)], LENGTH)
    return OnlineExample(input=coded, target=answer(coded, ROOM))
