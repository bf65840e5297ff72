"""A language model as a learner trains it: rows of tokens in, logits of their answers' tokens out.

A row codes what is asked and what is to be answered in one line of whole numbers, so that it lies in memory
and in the journal as any other row does: token t of the prompt is t, token t of an answer is -1 - t (its
bits inverted), and `PAD` fills the rest. Only the tokens of answers are learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto.errors import ExampleError
from tenuto.models.checkpointing import checkpointed

if TYPE_CHECKING:
    from tenuto.models.speech import Speech

PAD = 2**31 - 1
BUCKET = 8
"""Rows are cut behind their longest, rounded up to so many tokens."""

LOSS_SCALE = 2.0**16
"""What the gradient is multiplied with on its way through a float16 base, at first."""

RARE = 1000.0
"""The number of a token that counts half."""


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
        checkpointing: of each block keep its input alone, and compute the rest again in the backward.

    Raises:
        ConfigError: this kind of model cannot be computed again block by block.

    Attributes:
        sequences: it answers with (n, l, v), not (n, c).
        frozen: the names of what never changes, which no state holds.
        gate: what is told the rows that are read next, so that it may choose who answers them.
        loss_scale: of a float16 base, what gradients are multiplied with in it, and steps since that changed.
    """

    sequences = True

    def __init__(self, base: nn.Module, speech: Speech | None = None, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.base = base
        self.speech = speech
        self.gate: Callable[[Tensor], None] | None = None
        self._centre: Tensor | None = None
        if checkpointing:
            checkpointed(base)
        learned = {name for name, one in self.named_parameters() if one.requires_grad}
        self.frozen = frozenset(self.state_dict()) - learned
        if any(one.dtype == torch.float16 for one in self.parameters()):
            self.register_buffer("loss_scale", torch.tensor([LOSS_SCALE, 0.0]))

    def tokens(self, rows: Tensor) -> Tensor:
        """Which tokens (n, t) of coded rows are there, cut as the base reads them."""
        used = int((rows != PAD).sum(1).max())
        return rows[:, : -(-used // BUCKET) * BUCKET] != PAD

    def places(self, rows: Tensor) -> Tensor:
        """Behind which token (n, l) of coded rows each token of their answers is read; l the most."""
        answered = rows[:, : self.tokens(rows).shape[1]] < 0
        order = (~answered).int().argsort(stable=True, dim=1)[:, : int(answered.sum(1).max())]
        return (order - 1).clamp_(min=0)

    def same(self, rows: Tensor, others: Tensor) -> Tensor:
        """Do two coded rows answer after the same words? (n, m) of (n, t) and (m, t)."""
        spoken, theirs = (torch.where(one < 0, ~one, one) for one in (rows, others))
        alike = (spoken[:, None] == theirs[None]).int().cumprod(2).bool()
        both = (rows < 0)[:, None, 1:] & (others < 0)[None, :, 1:]
        found: Tensor = (alike[:, :, :-1] & both).any(2)
        return found

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (n, l, v) of the answers' tokens of coded rows (n, t), l the most; 0 behind the last."""
        if self.gate is not None:
            self.gate(rows)
        rows = rows[:, : self.tokens(rows).shape[1]]
        answered = rows < 0
        ids = torch.where(answered, ~rows, rows).masked_fill(rows == PAD, 0)
        order = (~answered).int().argsort(stable=True, dim=1)[:, : int(answered.sum(1).max())]
        absent = ~answered.gather(1, order)[:, :, None]
        with self._read_at((order - 1).clamp_(min=0), absent) as head:
            logits: Tensor = self.base(input_ids=ids, use_cache=False).logits
        return logits if head.bias is None else logits.masked_fill(absent, 0.0)

    def embed(self, rows: Tensor) -> Tensor:
        """What is asked in rows (n, t) as vectors (n, d) of length 1 that no learning moves.

            x = sum_t w_t e_t,   w_t = 1 / (1 + RARE / (t + 1)),   e_t the frozen vector of token t

        so that rare words count (Arora et al. 2017): vocabularies are numbered from the frequent to the rare.
        """
        base: Any = self.base
        words: Tensor = base.get_input_embeddings().weight.detach()
        if self._centre is None:
            self._centre = words.float().mean(0)
        found = []
        for row in rows.tolist():
            tokens = torch.tensor(self._asked(row), device=words.device)
            weights = 1 / (1 + RARE / (tokens + 1))
            found.append(weights @ F.normalize(words[tokens].float() - self._centre, dim=1))
        return F.normalize(torch.stack(found), dim=1)

    def _asked(self, row: Sequence[int]) -> list[int]:
        present = [token for token in row if token != PAD]
        if self.speech is not None:
            return self.speech.asked(present)
        return [token for token in present if token >= 0]

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
