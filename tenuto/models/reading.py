"""Reading: texts as rows of tokens that an encoder reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tenuto.errors import ConfigError, ExampleError
from tenuto.models.language import PAD


class Base(Protocol):
    """A base encoder and its tokenizer."""

    @property
    def model(self) -> Any: ...
    @property
    def tokenizer(self) -> Any: ...


class Reading:
    """Rows of one length from texts, with the tokens that the model puts around a text.

    Args:
        base: whose tokenizer.
        length: tokens of a row at most.

    Raises:
        ConfigError: the model reads no row of this length.
    """

    def __init__(self, base: Base, *, length: int = 64) -> None:
        self._tokenizer = base.tokenizer
        self.length = length
        most = getattr(base.model.config, "max_position_embeddings", length)
        if not 1 <= length <= most:
            raise ConfigError(f"length is {length} tokens; this model reads 1 to {most}")

    def row(self, text: str) -> NDArray[np.int32]:
        """A text as a row (length,).

        Raises:
            ExampleError: it is empty, or has more tokens than a row.
        """
        row: NDArray[np.int32] = self.rows([text])[0]
        return row

    def rows(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Texts as rows (n, length). Raises ExampleError as `row` does."""
        found = np.full((len(texts), self.length), PAD, dtype=np.int32)
        for number, text in enumerate(texts):
            if not text.strip():
                raise ExampleError("the text is empty; write it, or leave the row out")
            tokens = self._tokenizer(text, truncation=False, padding=False, verbose=False)["input_ids"]
            if len(tokens) > self.length:
                raise ExampleError(
                    f"the text has {len(tokens)} tokens; the longest allowed has {self.length}: shorten it"
                )
            found[number, : len(tokens)] = tokens
        return found
