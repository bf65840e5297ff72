"""A language model as a learner trains it: rows of tokens in, logits of their answers' tokens out.

A row codes what is asked and what is to be answered in one line of whole numbers, so that it lies in memory
and in the journal as any other row does: token t of the prompt is t, token t of an answer is -1 - t (its
bits inverted), and `PAD` fills the rest. Only the tokens of answers are learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tenuto.errors import ExampleError

if TYPE_CHECKING:
    from tenuto.models.speech import Speech

PAD = 2**31 - 1
BUCKET = 8
"""Rows are cut behind their longest, rounded up to so many tokens."""


def code(pieces: Sequence[tuple[Sequence[int], bool]], length: int) -> NDArray[np.int32]:
    """A row (length,) from pieces of tokens and whether each is to be answered.

    Raises:
        ExampleError: it is longer, or nothing is answered, or the first token is.

    >>> code([([5, 6], False), ([7], True)], 4).tolist()
    [5, 6, -8, 2147483647]
    """
    tokens = [~token if answered else token for piece, answered in pieces for token in piece]
    if len(tokens) > length:
        raise ExampleError(f"the row has {len(tokens)} tokens; the longest allowed has {length}: shorten it")
    if not tokens or tokens[0] < 0:
        raise ExampleError("the row begins with an answer; ask something first")
    if min(tokens) >= 0:
        raise ExampleError("the row holds no answer to learn")
    row = np.full(length, PAD, dtype=np.int32)
    row[: len(tokens)] = tokens
    return row


def answer(row: NDArray[np.int32], length: int) -> list[float]:
    """The answers' tokens of a row, one after the other, as a target of this length.

    >>> answer(code([([5, 6], False), ([7], True)], 4), 3)
    [7.0, -1.0, -1.0]
    """
    tokens = [float(~token) for token in row.tolist() if token < 0]
    if len(tokens) > length:
        raise ExampleError(
            f"the answer has {len(tokens)} tokens; the longest allowed has {length}: shorten it"
        )
    return tokens + [-1.0] * (length - len(tokens))


class LanguageModel(nn.Module):
    """A causal language model over coded rows.

    Args:
        base: a causal model of transformers, with adapters on it; what of it is frozen is not saved.

        speech: how what is said becomes rows; None: nobody asks it in words.

    Attributes:
        sequences: it answers with (n, l, v), not (n, c).
        frozen: the names of what never changes, which no state holds.
    """

    sequences = True

    def __init__(self, base: nn.Module, speech: Speech | None = None) -> None:
        super().__init__()
        self.base = base
        self.speech = speech
        learned = {name for name, one in self.named_parameters() if one.requires_grad}
        self.frozen = frozenset(self.state_dict()) - learned

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (n, l, v) of the answers' tokens of coded rows (n, t), l the most; 0 behind the last."""
        used = int((rows != PAD).sum(1).max())
        rows = rows[:, : -(-used // BUCKET) * BUCKET]
        answered = rows < 0
        ids = torch.where(answered, ~rows, rows).masked_fill(rows == PAD, 0)
        order = (~answered).int().argsort(stable=True, dim=1)[:, : int(answered.sum(1).max())]
        absent = ~answered.gather(1, order)[:, :, None]
        with self._read_at((order - 1).clamp_(min=0), absent) as head:
            logits: Tensor = self.base(input_ids=ids, use_cache=False).logits
        return logits if head.bias is None else logits.masked_fill(absent, 0.0)

    def embed(self, rows: Tensor) -> Tensor:
        """What is asked in coded rows (n, t), as vectors (n, d): the mean last state of its tokens.

        The first token is left out where there are others: its state is large and says nothing.
        """
        used = int((rows != PAD).sum(1).max())
        rows = rows[:, : -(-used // BUCKET) * BUCKET]
        asked = ((rows < 0).cumsum(1) == 0) & (rows != PAD)
        ids = torch.where(rows < 0, ~rows, rows).masked_fill(rows == PAD, 0)
        base: Any = self.base
        body = getattr(base, "get_base_model", lambda: base)().base_model
        states: Tensor = body(input_ids=ids, use_cache=False).last_hidden_state
        asked[:, 0] &= asked.sum(1) == 1
        weight = asked[:, :, None].to(states)
        return (states * weight).sum(1) / weight.sum(1)

    @contextmanager
    def _read_at(self, places: Tensor, absent: Tensor) -> Iterator[nn.Linear]:
        """Within this the head, most of the work, reads states at these places (n, l), 0 where absent."""

        def gather(_layer: nn.Module, states: tuple[Tensor]) -> Tensor:
            read = states[0].gather(1, places[:, :, None].expand(-1, -1, states[0].shape[2]))
            return read.masked_fill(absent, 0.0)

        base: Any = self.base
        head: nn.Linear = base.get_output_embeddings()
        hook = head.register_forward_pre_hook(gather)
        try:
            yield head
        finally:
            hook.remove()
