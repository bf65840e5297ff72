"""Asking many at once: what a language model says to prompts, with its adapter or without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from tenuto.adapters.bank import Bank
from tenuto.models.language import LanguageModel
from tenuto.models.speech import Message, Speech

TOGETHER = 32
"""Prompts that are answered side by side."""
SAID, LONG = 8, 24
"""Tokens of an answer to a beginning, and to a question."""


def say(
    model: LanguageModel,
    asked: Sequence[Sequence[Message]],
    most: int,
    *,
    bare: bool = False,
    tell: Callable[[int, int], None] | None = None,
) -> list[str]:
    """The likeliest answers, token by token; prompts are padded in front and asked side by side.

    Args:
        asked: conversations that wait for an answer, or texts, each as one message of the role "text".
        most: tokens of an answer.
        bare: ask the base without its adapter.
        tell: called with prompts (done, in all).
    """
    speech = _speech(model)
    rows = [[token for token in speech.asking(messages).tolist() if token < 2**31 - 1] for messages in asked]
    generate: Any = model.base.generate
    found: list[str] = []
    model.eval()
    with Bank(model).using(None) if bare else nullcontext(), torch.no_grad():
        for start in range(0, len(rows), TOGETHER):
            part = rows[start : start + TOGETHER]
            width = max(len(row) for row in part)
            ids = torch.tensor([[0] * (width - len(row)) + row for row in part])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part])
            said = generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=most, do_sample=False, pad_token_id=0
            )
            found += [speech.text(tokens) for tokens in said[:, width:].tolist()]
            if tell is not None:
                tell(len(found), len(rows))
    model.train()
    return found


def begins(said: str, wanted: str) -> bool:
    """Does an answer begin as it should, whatever the case?

    >>> begins(" Paris, of course", "paris")
    True
    """
    return said.strip().lower().startswith(wanted.strip().lower())


def _speech(model: LanguageModel) -> Speech:
    if model.speech is None:
        raise ValueError("a model that nobody asks in words")
    return model.speech
