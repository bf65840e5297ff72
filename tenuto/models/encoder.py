"""An encoder as a learner trains it: rows of tokens in, outputs of a head over its mean states out.

    x = sqrt(d) h / |h|,   h = the mean of a block's states (t, d) over a row's own tokens

of the last block, or of the last few side by side (what words a text holds fades with each). A new head reads
numbers of mean square 1, as it does where sentences were embedded beforehand (Reimers & Gurevych 2019). `PAD`
fills a row behind its last token.

The invariant: a row is read at its own length, rounded up, and never at that of its neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto.errors import ConfigError, ExampleError
from tenuto.models.language import BUCKET, PAD

if TYPE_CHECKING:
    from tenuto.models.reading import Reading


class Encoder(nn.Module):
    """A frozen encoder with adapters, and a head that grows.

    The base stays in evaluation mode while the head and the adapters learn: its own dropout would blur
    states that no update changes.

    Args:
        base: an encoder of transformers, with adapters on it or without; what is frozen is not saved.
        outputs: of the head; 0: one is added with each class.
        blocks: how many of the last blocks the head reads.
        reading: how texts become rows; None: nobody asks it in words.

    Raises:
        ConfigError: the base has fewer blocks.

    Attributes:
        frozen: the names of what never changes, which no state holds.
    """

    def __init__(
        self, base: nn.Module, outputs: int = 0, *, blocks: int = 1, reading: Reading | None = None
    ) -> None:
        super().__init__()
        self.base = base
        self.reading = reading
        body: Any = base
        if not 1 <= blocks <= body.config.num_hidden_layers:
            raise ConfigError(f"blocks is {blocks}; this base has 1 to {body.config.num_hidden_layers}")
        self._blocks = blocks
        self._vocabulary: int = body.get_input_embeddings().num_embeddings
        self.head = nn.Linear(blocks * body.config.hidden_size, max(outputs, 1))
        if outputs == 0:
            self.head.weight = nn.Parameter(self.head.weight.detach()[:0])
            self.head.bias = nn.Parameter(self.head.bias.detach()[:0])
            self.head.out_features = 0
        learned = {name for name, one in self.named_parameters() if one.requires_grad}
        self.frozen = frozenset(self.state_dict()) - learned
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for the base."""
        super().train(mode)
        self.base.eval()
        return self

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs (n, c) of rows (n, t). Raises ExampleError as `embed` does."""
        outputs: Tensor = self.head(self.embed(rows))
        return outputs

    def embed(self, rows: Tensor) -> Tensor:
        """What the head reads of rows (n, t): vectors (n, blocks * d) of mean square 1.

        Raises:
            ExampleError: a row holds no token, or a number that is none.
        """
        present = rows != PAD
        self._check(rows, present)
        places = torch.arange(1, rows.shape[1] + 1, device=rows.device)
        lengths = (places * present).amax(1)
        widths = (lengths + BUCKET - 1) // BUCKET * BUCKET
        order = widths.argsort(stable=True)
        found: list[Tensor] = []
        for width in sorted(set(widths.tolist())):
            which = order[widths[order] == width]
            found.append(self._read(rows[which, :width], present[which, :width]))
        return torch.cat(found)[order.argsort()]

    def _read(self, rows: Tensor, present: Tensor) -> Tensor:
        """The vectors of rows that are read at one length, in float32."""
        ids, mask = rows.masked_fill(~present, 0), present[..., None]
        told = self.base(input_ids=ids, attention_mask=present.long(), output_hidden_states=self._blocks > 1)
        states = told.hidden_states[-self._blocks :] if self._blocks > 1 else (told.last_hidden_state,)
        means = [(one.float() * mask).sum(1) / mask.sum(1) for one in states]
        return torch.cat([F.normalize(mean, dim=1) * mean.shape[1] ** 0.5 for mean in means], 1)

    def _check(self, rows: Tensor, present: Tensor) -> None:
        odd = present & ((rows < 0) | (rows >= self._vocabulary))
        bad = odd.any(1) | ~present.any(1)
        if not bool(bad.any()):
            return
        row = int(bad.nonzero()[0, 0])
        if not bool(odd[row].any()):
            raise ExampleError(f"row {row} of the batch holds no token; write a text, or leave the row out")
        token = int(rows[row][odd[row]][0])
        raise ExampleError(
            f"row {row} of the batch holds {token}, which is no token: they are 0 to {self._vocabulary - 1}, "
            f"and {PAD} behind the last"
        )
