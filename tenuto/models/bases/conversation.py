"""Chat templates: programs that came with a model, rendered in Jinja's immutable sandbox and nowhere else.

Invariant: a template sees plain data, reaches no attribute of Python's own, and changes nothing. It may still
take long: the sandbox bounds ranges, not time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tenuto.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DUNDER = re.compile(r"__\w+__")
"""What no honest template names: the attributes by which one leaves a sandbox."""


def check(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Refuse a tokenizer one of whose templates reaches for Python's internals.

    Raises:
        ConfigError: a template names a dunder attribute.
    """
    given = tokenizer.chat_template or {}
    for template in given.values() if isinstance(given, Mapping) else [given]:
        if found := DUNDER.search(template):
            raise ConfigError(f"{folder}: the chat template holds code: it reaches for {found[0]}")


def encode(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]], *, reply: bool
) -> list[int]:
    """Token ids of messages through the chat template.

    Raises:
        ConfigError: there is no template, or it fails, or it reaches out of the sandbox.
    """
    from jinja2.exceptions import SecurityError, TemplateError

    if not tokenizer.chat_template:
        raise ConfigError(f"{tokenizer.name_or_path} has no chat template; give it plain text")
    plain = [dict(message) for message in messages]
    try:
        text = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=reply)
    except SecurityError as error:
        raise ConfigError(f"the chat template holds code that the sandbox refuses: {error}") from error
    except (TemplateError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"the chat template cannot render these messages: {error}") from error
    tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokens
