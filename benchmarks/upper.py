"""MiniLM's upper blocks over the states of the lower ones, which no adapter reaches and which are read once.

What it answers is what an `Encoder` with adapters on those upper blocks answers; a step costs a third.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto.models.language import PAD

BUCKET, TOGETHER = 8, 128


class States:
    """The states of a base's lower blocks for rows of tokens (n, t), end to end.

    Args:
        base: an encoder of transformers.
        rows: its rows of tokens.
        below: how many blocks are read.
    """

    def __init__(self, base: Any, rows: Tensor, below: int) -> None:
        self.lengths = (rows != PAD).sum(1)
        self._starts = self.lengths.cumsum(0) - self.lengths
        self._states = torch.empty(int(self.lengths.sum()), base.config.hidden_size, dtype=base.dtype)
        with torch.inference_mode():
            for width, which in alike(self.lengths):
                for some in which.split(TOGETHER):
                    part = rows[some, :width].long()
                    mask = part != PAD
                    told = base(
                        input_ids=part.masked_fill(~mask, 0),
                        attention_mask=mask.long(),
                        output_hidden_states=True,
                    )
                    places = self._starts[some, None] + torch.arange(width)
                    self._states[places[mask]] = told.hidden_states[below][mask]

    def of(self, rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """States (n, width, d) of rows by number, and where there is a token (n, width)."""
        mask = torch.arange(width) < self.lengths[rows, None]
        places = (self._starts[rows, None] + torch.arange(width)).masked_fill(~mask, 0)
        return self._states[places], mask


class Upper(nn.Module):
    """An encoder over rows that are numbers (n, 1) of rows whose lower states are known.

    Args:
        base: the encoder with adapters on its upper blocks.
        states: of the blocks below `below`.
        below: the first block that is computed.
        outputs: of the head; 0: one is added with each class.
    """

    def __init__(self, base: Any, states: States, below: int, outputs: int = 0) -> None:
        super().__init__()
        self.base = base
        self._states, self._below = states, below
        blocks = list(base.get_base_model().encoder.layer)[below:]
        self._upper = tuple(blocks)
        self.head = nn.Linear((1 + len(blocks)) * base.config.hidden_size, max(outputs, 1))
        if outputs == 0:
            self.head.weight = nn.Parameter(self.head.weight.detach()[:0])
            self.head.bias = nn.Parameter(self.head.bias.detach()[:0])
            self.head.out_features = 0
        learned = {name for name, one in self.named_parameters() if one.requires_grad}
        self.frozen = frozenset(self.state_dict()) - learned

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for the base."""
        super().train(mode)
        self.base.eval()
        return self

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs (n, c)."""
        outputs: Tensor = self.head(self.embed(rows))
        return outputs

    def embed(self, rows: Tensor) -> Tensor:
        """What the head reads: mean states of the last block below and of each above, side by side."""
        numbers = rows[:, 0].long()
        found, order = [], []
        for width, which in alike(self._states.lengths[numbers]):
            order.append(which)
            found.append(self._read(numbers[which], width))
        return torch.cat(found)[torch.cat(order).argsort()]

    def _read(self, numbers: Tensor, width: int) -> Tensor:
        states, mask = self._states.of(numbers, width)
        bias = torch.zeros(len(numbers), 1, 1, width, dtype=states.dtype)
        bias = bias.masked_fill(~mask[:, None, None], torch.finfo(states.dtype).min)
        seen = [states]
        for block in self._upper:
            told = block(seen[-1], attention_mask=bias)
            seen.append(told[0] if isinstance(told, tuple) else told)
        means = [(one.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True) for one in seen]
        return torch.cat([F.normalize(mean, dim=1) * mean.shape[1] ** 0.5 for mean in means], 1)


def alike(lengths: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Rows of one length, rounded up: the length, and their numbers."""
    widths = (lengths + BUCKET - 1) // BUCKET * BUCKET
    for width in sorted(set(widths.tolist())):
        yield width, (widths == width).nonzero()[:, 0]
